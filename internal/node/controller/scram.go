package controller

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"hash"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
)

// SCRAM mechanisms and their iteration bounds (KIP-554).
const (
	scramSHA256 int8 = 1
	scramSHA512 int8 = 2

	scramMinIterations = 4096
	scramMaxIterations = 16384
)

func scramHash(mechanism int8) func() hash.Hash {
	switch mechanism {
	case scramSHA256:
		return sha256.New
	case scramSHA512:
		return sha512.New
	}
	return nil
}

// scramUsers are the users that a request names, each once, in its order.
func scramUsers(req *kmsg.AlterUserSCRAMCredentialsRequest) []string {
	var out []string
	seen := map[string]bool{}
	add := func(name string) {
		if !seen[name] {
			seen[name] = true
			out = append(out, name)
		}
	}
	for _, d := range req.Deletions {
		add(d.Name)
	}
	for _, u := range req.Upsertions {
		add(u.Name)
	}
	return out
}

// alterUserSCRAMCredentials serves AlterUserScramCredentials v0: each user's changes whole or not at all. The log keeps
// what proves a password (RFC 5802), never the password.
func alterUserSCRAMCredentials(tx *tx, req *kmsg.AlterUserSCRAMCredentialsRequest) (kmsg.Response, error) {
	resp := kmsg.NewPtrAlterUserSCRAMCredentialsResponse()
	for _, user := range scramUsers(req) {
		recs, e := tx.scramRecords(user, req)
		if e == nil {
			tx.emit(recs...)
		}
		resp.Results = append(resp.Results, kmsg.AlterUserSCRAMCredentialsResponseResult{User: user, ErrorCode: codeOf(e), ErrorMessage: e.text()})
	}
	return resp, nil
}

func (tx *tx) scramRecords(user string, req *kmsg.AlterUserSCRAMCredentialsRequest) ([]metadata.Record, *apiError) {
	s := tx.view()
	if user == "" {
		return nil, fail(kerr.UnacceptableCredential, "Username must not be empty")
	}
	var recs []metadata.Record
	seen := map[int8]bool{}
	once := func(mechanism int8) *apiError {
		if scramHash(mechanism) == nil {
			return fail(kerr.UnsupportedSaslMechanism, "Unknown SCRAM mechanism")
		}
		if seen[mechanism] {
			return fail(kerr.DuplicateResource, "A user credential cannot be altered twice in the same request")
		}
		seen[mechanism] = true
		return nil
	}
	for _, d := range req.Deletions {
		if d.Name != user {
			continue
		}
		if e := once(d.Mechanism); e != nil {
			return nil, e
		}
		if _, ok := s.img.ScramCredential(d.Mechanism, user); !ok {
			return nil, fail(kerr.ResourceNotFound, "Attempt to delete a user credential that does not exist")
		}
		rec := metadata.NewRemoveUserScramCredentialRecord()
		rec.Name, rec.Mechanism = user, d.Mechanism
		recs = append(recs, rec)
	}
	for _, u := range req.Upsertions {
		if u.Name != user {
			continue
		}
		if e := once(u.Mechanism); e != nil {
			return nil, e
		}
		rec, e := scramCredential(u)
		if e != nil {
			return nil, e
		}
		recs = append(recs, rec)
	}
	return recs, nil
}

func scramCredential(u kmsg.AlterUserSCRAMCredentialsRequestUpsertion) (metadata.Record, *apiError) {
	switch {
	case u.Iterations < scramMinIterations:
		return nil, fail(kerr.UnacceptableCredential, "Too few iterations")
	case u.Iterations > scramMaxIterations:
		return nil, fail(kerr.UnacceptableCredential, "Too many iterations")
	case len(u.Salt) == 0 || len(u.SaltedPassword) == 0:
		return nil, fail(kerr.UnacceptableCredential, "Salt and salted password must not be empty")
	}
	newHash := scramHash(u.Mechanism)
	mac := func(text string) []byte {
		h := hmac.New(newHash, u.SaltedPassword)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	stored := newHash()
	stored.Write(mac("Client Key"))
	rec := metadata.NewUserScramCredentialRecord()
	rec.Name, rec.Mechanism, rec.Iterations = u.Name, u.Mechanism, u.Iterations
	rec.Salt = append([]byte(nil), u.Salt...)
	rec.StoredKey, rec.ServerKey = stored.Sum(nil), mac("Server Key")
	return rec, nil
}
