package controller

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
)

// apiError is an error that a client is meant to see: a Kafka code and the text beside it. It changes nothing of who
// leads; any other error from an operation is a fault and costs this controller its leadership.
type apiError struct {
	code    int16
	message string
}

func (e *apiError) Error() string {
	name := kerr.ErrorForCode(e.code).Error()
	if e.message == "" {
		return name
	}
	return name + ": " + e.message
}

func (e *apiError) Unwrap() error { return kerr.ErrorForCode(e.code) }

// text is the message as a nullable string of the protocol.
func (e *apiError) text() *string {
	if e == nil || e.message == "" {
		return nil
	}
	return &e.message
}

// fail makes an apiError. The text is Kafka's own where Kafka has one, so it may start with a capital.
func fail(code *kerr.Error, format string, args ...any) *apiError {
	return &apiError{code: code.Code, message: fmt.Sprintf(format, args...)}
}

func failCode(code *kerr.Error) *apiError { return &apiError{code: code.Code} }

var errNotController = &apiError{code: kerr.NotController.Code, message: "The active controller appears to be another node."}

// asAPIError turns any error into what a client is told.
func asAPIError(err error) *apiError {
	var e *apiError
	if errors.As(err, &e) {
		return e
	}
	return &apiError{code: kerr.UnknownServerError.Code, message: "The server experienced an unexpected error when processing the request."}
}

// codeOf is the error code of e, 0 for nil.
func codeOf(e *apiError) int16 {
	if e == nil {
		return 0
	}
	return e.code
}

var errClusterAuthorization = &apiError{code: kerr.ClusterAuthorizationFailed.Code, message: "Request is not authorized."}
