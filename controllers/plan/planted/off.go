//go:build !mutants

package planted

// Bug is the one in this build: none.
const Bug = None
