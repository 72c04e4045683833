// The load of the benchmark: a cheap client of chronoserve.v1.KVStore that sends ready-made request bytes, counts and
// checks the answers and prints one JSON object.
//
//	-mode unary   closed loop of MultiGet: each caller has one call under way
//	-mode stream  closed loop of messages on one open StreamMultiGet for each caller, -under-way of them at a time
//	-mode open    MultiGet at -rate whatever the answers, with health checks beside it
//
// With -questions a closed loop asks what a file holds of any unary method: -method names it.
//
// No call is ever repeated, as a retry policy would do. SIGINT and SIGTERM end a run early and in order.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
)

const (
	modeUnary  = "unary"
	modeStream = "stream"
	modeOpen   = "open"

	messageBytesMax = 64 << 20

	// garbageShare, in per cent of what is live, keeps pauses of this client out of the latencies; it holds a few MiB.
	garbageShare = 800
)

// settings of one run; flags of the same names describe them.
type settings struct {
	target       string
	mode         string
	dataset      string
	keys         int
	keySpace     int
	valueBytes   int
	missShare    float64
	callers      int
	connections  int
	duration     time.Duration
	deadline     time.Duration
	waitForReady bool
	rate         float64
	underWay     int
	underWayMax  int
	seed         uint64
	check        bool
	method       string
	questions    string
}

func parse() (*settings, error) {
	s := &settings{}
	flag.StringVar(&s.target, "target", "127.0.0.1:50051", "address of the server")
	flag.StringVar(&s.mode, "mode", modeUnary, "unary, stream or open")
	flag.StringVar(&s.dataset, "dataset", "bench", "dataset to read")
	flag.IntVar(&s.keys, "keys", 10, "keys in one call")
	flag.IntVar(&s.keySpace, "key-space", 100_000, "keys that the store holds")
	flag.IntVar(&s.valueBytes, "value-bytes", 200, "size of each value")
	flag.Float64Var(&s.missShare, "miss-share", 0, "share of asked keys that have no value, 0 to 1")
	flag.IntVar(&s.callers, "callers", 50, "calls under way at a time; not for the open loop")
	flag.IntVar(&s.connections, "connections", 4, "connections that calls are spread over")
	flag.DurationVar(&s.duration, "for", 5*time.Second, "length of the run")
	flag.DurationVar(&s.deadline, "deadline", 5*time.Second, "deadline of each unary call; 0: none")
	flag.BoolVar(&s.waitForReady, "wait-for-ready", false, "calls wait for a connection instead of failing where there is none")
	flag.Float64Var(&s.rate, "rate", 1000, "calls a second of the open loop")
	flag.IntVar(&s.underWay, "under-way", 1, "messages that each stream keeps under way")
	flag.IntVar(&s.underWayMax, "under-way-max", 20_000, "calls under way at most in the open loop; those due beyond it are held")
	flag.Uint64Var(&s.seed, "seed", 1, "of the keys asked for")
	flag.BoolVar(&s.check, "check", true, "compare answers with what the store holds; a closed loop only")
	flag.StringVar(&s.method, "method", unaryMethod, "method of the unary closed loop, with its service")
	flag.StringVar(&s.questions, "questions", "", "file of requests with their answers, for the unary closed loop; see file.go")
	flag.Parse()
	if s.mode != modeUnary && s.mode != modeStream && s.mode != modeOpen {
		return nil, fmt.Errorf("unknown mode %q: take %s, %s or %s", s.mode, modeUnary, modeStream, modeOpen)
	}
	if s.keys < 1 || s.callers < 1 || s.underWay < 1 || s.connections < 1 || s.keySpace < 1 || s.valueBytes < 1 || s.rate <= 0 {
		return nil, fmt.Errorf("keys, callers, under-way, connections, key-space, value-bytes and rate are positive")
	}
	return s, nil
}

// untilDeadline is the context of a call that was due at the given time.
func (s *settings) untilDeadline(due time.Time) (context.Context, context.CancelFunc) {
	if s.deadline == 0 {
		return context.Background(), func() {}
	}
	return context.WithDeadline(context.Background(), due.Add(s.deadline))
}

func newRandom(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, seed)) }

var useRawCodec = grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{}), grpc.MaxCallRecvMsgSize(messageBytesMax))

// dial makes a connection that comes back quickly after the server was away.
func dial(s *settings, options ...grpc.DialOption) (*grpc.ClientConn, error) {
	again := grpc.ConnectParams{
		Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 250 * time.Millisecond},
		MinConnectTimeout: time.Second,
	}
	options = append(options, grpc.WithDisableRetry(),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithConnectParams(again))
	return grpc.NewClient("passthrough:///"+s.target, options...)
}

func dialAll(s *settings) ([]*grpc.ClientConn, error) {
	options := []grpc.DialOption{useRawCodec}
	if s.mode == modeOpen {
		options = append(options, grpc.WithStatsHandler(departures{}))
	}
	connections := make([]*grpc.ClientConn, s.connections)
	for i := range connections {
		connection, err := dial(s, options...)
		if err != nil {
			return nil, err
		}
		connections[i] = connection
	}
	return connections, nil
}

func run(s *settings) (*outcome, error) {
	connections, err := dialAll(s)
	if err != nil {
		return nil, err
	}
	questions, err := s.catalogue()
	if err != nil {
		return nil, err
	}
	over, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	over, cancel := context.WithTimeout(over, s.duration)
	defer cancel()
	if s.mode == modeOpen {
		return openLoop(over, s, connections, questions)
	}
	return closedLoop(over, s, connections, questions), nil
}

func main() {
	s, err := parse()
	if err != nil {
		log.Fatal(err)
	}
	debug.SetGCPercent(garbageShare)
	result, err := run(s)
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		log.Fatal(err)
	}
}
