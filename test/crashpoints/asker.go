package crashpoints

import (
	"context"
	"fmt"

	"github.com/kraft-dev/kraft-operator/controllers"
	"github.com/kraft-dev/kraft-operator/internal/admin"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// asker puts a manager's requests to the cluster; every one passes the fault and the rules.
type asker struct {
	controllers.Admin // what is under it
	m                 *manager
}

func uncertain(p point) error { return fmt.Errorf("%s: %w", p, admin.ErrUncertain) }

func reads(question string) point {
	return point{Verb: "ask", Object: question, read: true, admin: true}
}

func changes(format string, args ...any) point {
	return point{Verb: "ask", Object: fmt.Sprintf(format, args...), admin: true}
}

func (a *asker) DescribeQuorum(ctx context.Context, addrs []string) (q *admin.Quorum, err error) {
	err = a.m.call(ctx, reads("DescribeQuorum"), func() effect {
		got, err := a.Admin.DescribeQuorum(ctx, addrs)
		return effect{func() { q = got }, err}
	})
	return q, err
}

func (a *asker) DescribeTopics(ctx context.Context, addrs []string) (t *admin.Topics, err error) {
	err = a.m.call(ctx, reads("DescribeTopics"), func() effect {
		got, err := a.Admin.DescribeTopics(ctx, addrs)
		return effect{func() { t = got }, err}
	})
	return t, err
}

func (a *asker) AddVoter(ctx context.Context, addrs []string, key admin.ReplicaKey, at []admin.Endpoint) error {
	ctx = context.WithoutCancel(ctx) // it may be carried out when the pass is over
	return a.m.call(ctx, changes("AddVoter %d", key.ID), func() effect {
		a.m.w.rules.changes(a.m, false, voterOf(key))
		return failed(a.Admin.AddVoter(ctx, addrs, key, at))
	})
}

func (a *asker) RemoveVoter(ctx context.Context, addrs []string, key admin.ReplicaKey) error {
	ctx = context.WithoutCancel(ctx)
	return a.m.call(ctx, changes("RemoveVoter %d", key.ID), func() effect {
		a.m.w.rules.changes(a.m, true, voterOf(key))
		return failed(a.Admin.RemoveVoter(ctx, addrs, key))
	})
}

func (a *asker) DynamicDefaults(ctx context.Context, leader string) (all map[string]string, err error) {
	err = a.m.call(ctx, reads("DynamicDefaults"), func() effect {
		got, err := a.Admin.DynamicDefaults(ctx, leader)
		return effect{func() { all = got }, err}
	})
	return all, err
}

func (a *asker) AlterDynamicDefaults(ctx context.Context, leader string, set map[string]string, remove []string) error {
	return a.m.call(ctx, changes("AlterDynamicDefaults"), func() effect {
		return failed(a.Admin.AlterDynamicDefaults(ctx, leader, set, remove))
	})
}

func (a *asker) UnregisterBroker(ctx context.Context, leader string, id int32) error {
	return a.m.call(ctx, changes("UnregisterBroker %d", id), func() effect {
		a.m.w.rules.unregisters(a.m, id)
		return failed(a.Admin.UnregisterBroker(ctx, leader, id))
	})
}

func voterOf(key admin.ReplicaKey) voter { return voter{key.ID, uuid.UUID(key.DirectoryID).String()} }
