package raft

import (
	"context"
	"errors"
	"fmt"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
)

// ask puts a question of this node's own to the engine and waits for the effect that answers it.
func (d *Driver) ask(ctx context.Context, question func(token uint64) quorum.Event) (quorum.Effect, error) {
	answer := make(chan quorum.Effect, 1)
	if !d.post(func() {
		d.nextQuestion++
		d.questions[d.nextQuestion] = answer
		d.step(question(d.nextQuestion))
	}) {
		return nil, ErrNotLeader
	}
	select {
	case e := <-answer:
		return e, nil
	case <-d.stopped:
		return nil, ErrNotLeader
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (d *Driver) answerQuestion(token uint64, e quorum.Effect) {
	if answer, ok := d.questions[token]; ok {
		delete(d.questions, token)
		answer <- e
	}
}

// ReadIndex returns an offset up to which a linearizable read must see the log, after making sure that this node still
// leads. Errors: ErrNotLeader; that it could not be made sure in time; ctx's.
func (d *Driver) ReadIndex(ctx context.Context) (int64, error) {
	e, err := d.ask(ctx, func(token uint64) quorum.Event { return quorum.ReadIndex{Token: token} })
	switch e := e.(type) {
	case quorum.ReadReady:
		return int64(e.Offset), nil
	case quorum.ReadFailed:
		if e.Error == quorum.NotLeaderOrFollower {
			return 0, ErrNotLeader
		}
		return 0, fmt.Errorf("linearizable read: %s", e.Error)
	}
	return 0, err
}

// UpgradeKRaftVersion finalizes a level of kraft.version, if this node leads in epoch; its records go before whatever is prepared
// afterwards. changed is false where the level is in force already. Errors: ErrNotLeader; what stands in the way.
func (d *Driver) UpgradeKRaftVersion(ctx context.Context, epoch int32, level int16, validateOnly bool) (changed bool, err error) {
	e, err := d.ask(ctx, func(token uint64) quorum.Event {
		return quorum.UpgradeVersion{Token: token, Epoch: quorum.Epoch(epoch), Level: level, ValidateOnly: validateOnly}
	})
	up, ok := e.(quorum.VersionUpgraded)
	switch {
	case !ok:
		return false, err
	case up.Error == quorum.NotLeaderOrFollower:
		return false, ErrNotLeader
	case up.Error != quorum.NoError:
		return false, errors.New(up.Text)
	}
	return up.Changed, nil
}
