package wire

import "errors"

// What is wrong with a message. Each returned error wraps exactly one of these and
// says the API, the field and the offset in the body.
var (
	// ErrMalformed: lengths, counts, tags or nullability contradict the bytes.
	ErrMalformed = errors.New("malformed message")
	// ErrTooLarge: the frame is over its API's cap, or decoding it would need more memory than allowed.
	ErrTooLarge = errors.New("message too large")
	// ErrUnknownAPI: the key is not one that is served.
	ErrUnknownAPI = errors.New("unknown api key")
	// ErrUnsupportedVersion: the key is known, the version is not served.
	ErrUnsupportedVersion = errors.New("unsupported api version")
)
