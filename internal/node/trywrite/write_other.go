//go:build !unix

package trywrite

const supported = false

func write(uintptr, []byte) (int, error) { return 0, nil }
