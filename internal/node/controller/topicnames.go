package controller

import (
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
)

// maxTopicNameLength is in bytes: a name and a partition number must fit a file name.
const maxTopicNameLength = 249

// checkTopicName refuses what can't be a topic's name (Kafka's Topic.validate).
func checkTopicName(name string) *apiError {
	var why string
	switch {
	case name == "":
		why = "the empty string is not allowed"
	case name == "." || name == "..":
		why = "'.' or '..' is not allowed"
	case len(name) > maxTopicNameLength:
		why = "the length of '" + name + "' is longer than the max allowed length 249"
	case strings.IndexFunc(name, illegalTopicRune) >= 0:
		why = "'" + name + "' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
	default:
		return nil
	}
	return fail(kerr.InvalidTopicException, "Topic name is invalid: %s", why)
}

func illegalTopicRune(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
		return false
	}
	return true
}

// collidingName is the name under which topics collide, since metrics write '.' as '_'; ok says whether it can collide.
func collidingName(name string) (unified string, ok bool) {
	return strings.ReplaceAll(name, ".", "_"), strings.ContainsAny(name, "._")
}
