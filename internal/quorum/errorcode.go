package quorum

import "fmt"

// ErrorCode is a Kafka protocol error code.
type ErrorCode int16

// The codes this package answers with or understands.
const (
	UnknownServerError         ErrorCode = -1
	NoError                    ErrorCode = 0
	UnknownTopicOrPartition    ErrorCode = 3
	NotLeaderOrFollower        ErrorCode = 6
	RequestTimedOut            ErrorCode = 7
	BrokerNotAvailable         ErrorCode = 8
	NetworkException           ErrorCode = 13
	ClusterAuthorizationFailed ErrorCode = 31
	UnsupportedVersion         ErrorCode = 35
	InvalidRequest             ErrorCode = 42
	FencedLeaderEpoch          ErrorCode = 74
	UnknownLeaderEpoch         ErrorCode = 75
	InvalidUpdateVersion       ErrorCode = 95
	SnapshotNotFound           ErrorCode = 98
	PositionOutOfRange         ErrorCode = 99
	InconsistentClusterID      ErrorCode = 104
	InvalidVoterKey            ErrorCode = 125
	DuplicateVoter             ErrorCode = 126
	VoterNotFound              ErrorCode = 127
)

var errorNames = map[ErrorCode]string{
	UnknownServerError:         "UNKNOWN_SERVER_ERROR",
	NoError:                    "NONE",
	UnknownTopicOrPartition:    "UNKNOWN_TOPIC_OR_PARTITION",
	NotLeaderOrFollower:        "NOT_LEADER_OR_FOLLOWER",
	RequestTimedOut:            "REQUEST_TIMED_OUT",
	BrokerNotAvailable:         "BROKER_NOT_AVAILABLE",
	NetworkException:           "NETWORK_EXCEPTION",
	ClusterAuthorizationFailed: "CLUSTER_AUTHORIZATION_FAILED",
	UnsupportedVersion:         "UNSUPPORTED_VERSION",
	InvalidRequest:             "INVALID_REQUEST",
	FencedLeaderEpoch:          "FENCED_LEADER_EPOCH",
	UnknownLeaderEpoch:         "UNKNOWN_LEADER_EPOCH",
	InvalidUpdateVersion:       "INVALID_UPDATE_VERSION",
	SnapshotNotFound:           "SNAPSHOT_NOT_FOUND",
	PositionOutOfRange:         "POSITION_OUT_OF_RANGE",
	InconsistentClusterID:      "INCONSISTENT_CLUSTER_ID",
	InvalidVoterKey:            "INVALID_VOTER_KEY",
	DuplicateVoter:             "DUPLICATE_VOTER",
	VoterNotFound:              "VOTER_NOT_FOUND",
}

func (e ErrorCode) String() string {
	if s, ok := errorNames[e]; ok {
		return s
	}
	return fmt.Sprintf("ERROR_%d", int16(e))
}
