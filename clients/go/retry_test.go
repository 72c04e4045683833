package chronoserve

import (
	"context"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

const multiGet = "/chronoserve.v1.KVStore/MultiGet"

func busy(t *testing.T, delay time.Duration) error {
	t.Helper()
	refused, err := status.New(codes.ResourceExhausted, "busy").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(delay)})
	if err != nil {
		t.Fatal(err)
	}
	return refused.Err()
}

// attempts counts how often a call goes out that is answered by these errors in turn, and then with success.
func attempts(ctx context.Context, method string, errors ...error) (int, error) {
	count := 0
	err := RetryReads(ctx, method, nil, nil, nil, func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
		count++
		if count <= len(errors) {
			return errors[count-1]
		}
		return nil
	})
	return count, err
}

func TestABusyServerIsAskedAgain(t *testing.T) {
	if count, err := attempts(context.Background(), multiGet, busy(t, time.Millisecond)); count != 2 || err != nil {
		t.Fatalf("%d attempts, %v", count, err)
	}
}

func TestTheServersPauseIsKept(t *testing.T) {
	if pause, again := Pause(busy(t, 70*time.Millisecond), 1); !again || pause != 70*time.Millisecond {
		t.Fatalf("pause %v, again %v", pause, again)
	}
}

func TestALimitIsNotAskedAgain(t *testing.T) {
	tooLarge := status.Error(codes.ResourceExhausted, "message too large")
	if count, err := attempts(context.Background(), multiGet, tooLarge); count != 1 || err == nil {
		t.Fatalf("%d attempts, %v", count, err)
	}
}

func TestAWriteIsNotRepeated(t *testing.T) {
	if count, err := attempts(context.Background(), "/chronoserve.v1.KVStore/MultiPut", busy(t, 0)); count != 1 || err == nil {
		t.Fatalf("%d attempts, %v", count, err)
	}
}

func TestAPauseBeyondTheDeadlineIsNotBegun(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if count, err := attempts(ctx, multiGet, busy(t, time.Hour)); count != 1 || err == nil {
		t.Fatalf("%d attempts, %v", count, err)
	}
}

func TestItGivesUp(t *testing.T) {
	away := status.Error(codes.Unavailable, "away")
	if count, err := attempts(context.Background(), multiGet, away, away, away, away, away); count != attemptsMax || err == nil {
		t.Fatalf("%d attempts, %v", count, err)
	}
}
