//go:build !mutants

package quorum

// planted is the bug in this build: none.
const planted = none
