// Package chronoserve is what a Go service needs beside the generated stubs: reads that are repeated as the server asks for it.
package chronoserve

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	attemptsMax   = 4
	backoff       = 20 * time.Millisecond
	backoffMax    = 500 * time.Millisecond
	nothingToWait = time.Duration(0)
)

// reads may be repeated whatever became of the first attempt; a write may only with times and idempotency tokens of its own.
var reads = []string{
	"/chronoserve.v1.KVStore/Get", "/chronoserve.v1.KVStore/MultiGet", "/chronoserve.v1.KVStore/Scan",
	"/chronoserve.v1.KVStore/Describe", "/chronoserve.v1.KVStore/GetCapabilities",
	"/chronoserve.v1.Fetcher/FetchJoins", "/chronoserve.v1.Fetcher/FetchGroupBys", "/chronoserve.v1.Fetcher/GetJoinSchema",
	"/chronoserve.v1.Fetcher/GetGroupBySchema", "/chronoserve.v1.Fetcher/ListJoins", "/chronoserve.v1.Fetcher/ListGroupBys",
	"/chronoserve.v1.Fetcher/Explain",
}

// RetryReads repeats unary reads that found no server or a busy one, inside the deadline of the call. A server that sheds load says in
// RetryInfo how long to stay away; without it the pause is drawn below a bound that doubles.
func RetryReads(ctx context.Context, method string, request, reply any, connection *grpc.ClientConn, invoke grpc.UnaryInvoker,
	options ...grpc.CallOption) error {
	for attempt := 1; ; attempt++ {
		err := invoke(ctx, method, request, reply, connection, options...)
		pause, again := Pause(err, attempt)
		if !again || attempt == attemptsMax || !slices.Contains(reads, method) || !roomFor(ctx, pause) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// Pause is how long to wait before the next attempt, and whether there should be one.
func Pause(err error, attempt int) (time.Duration, bool) {
	refused, _ := status.FromError(err)
	if refused.Code() != codes.Unavailable && refused.Code() != codes.ResourceExhausted {
		return nothingToWait, false
	}
	for _, detail := range refused.Details() {
		if info, found := detail.(*errdetails.RetryInfo); found {
			return info.GetRetryDelay().AsDuration(), true
		}
	}
	// Without RetryInfo, RESOURCE_EXHAUSTED is a limit (a message too large), which the next attempt would meet as well.
	bound := min(backoffMax, backoff<<(attempt-1))
	return rand.N(bound), refused.Code() == codes.Unavailable
}

func roomFor(ctx context.Context, pause time.Duration) bool {
	deadline, bounded := ctx.Deadline()
	return !bounded || time.Until(deadline) > pause
}
