package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
)

const (
	tick           = time.Millisecond
	healthEvery    = 100 * time.Millisecond
	healthDeadline = time.Second
)

// openPart is what only an open loop has: calls start when they are due, whether or not earlier ones were answered.
type openPart struct {
	Rate    float64 `json:"rate_per_s"`
	Offered int     `json:"offered"`
	// Two kinds of call are held at this client, and the server never saw them. NotSent were due while the bound on calls under
	// way was reached; of Held the deadline ended while they waited for a stream.
	NotSent int64 `json:"not_sent"`
	Held    int64 `json:"held_at_client"`
	// FromDue is the latency of answered calls from when they were due; that of the outcome is from when the transport took them.
	FromDue spread `json:"latency_from_due"`
	// Refused counts RESOURCE_EXHAUSTED and UNAVAILABLE from the server; RefusedBare those of them without RetryInfo.
	Refused       int        `json:"refused"`
	RefusedBare   int        `json:"refused_without_retry_info"`
	RefusedAnswer spread     `json:"refused_latency"`
	Health        healthPart `json:"health"`
}

type healthPart struct {
	Checks   int                 `json:"checks"`
	Failures map[string]*failure `json:"failures"`
	Latency  spread              `json:"latency"`
}

// flood sends calls at a fixed rate.
type flood struct {
	settings    *settings
	connections []*grpc.ClientConn
	questions   *catalogue
	mutex       sync.Mutex // of seen, fromDue, refused and bare
	seen        tally
	fromDue     []time.Duration
	refused     []time.Duration
	bare        int
	underWay    atomic.Int64
	notSent     atomic.Int64
	held        atomic.Int64
	calls       sync.WaitGroup
}

type departureKey struct{}

// departure is when the transport took a call; zero while the call waits in this client for a stream or a connection.
type departure struct{ at time.Time }

// departures notes when the transport takes a call: its headers go out once the connection has a stream for it.
type departures struct{}

var _ stats.Handler = departures{}

func (departures) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC is told of OutHeader on the goroutine that makes the call.
func (departures) HandleRPC(ctx context.Context, event stats.RPCStats) {
	if _, departs := event.(*stats.OutHeader); !departs {
		return
	}
	if departed, ok := ctx.Value(departureKey{}).(*departure); ok && departed.at.IsZero() {
		departed.at = time.Now()
	}
}

func (departures) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

func (departures) HandleConn(context.Context, stats.ConnStats) {}

func hasRetryInfo(state *status.Status) bool {
	for _, detail := range state.Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok && info.GetRetryDelay() != nil {
			return true
		}
	}
	return false
}

func (f *flood) answered(due, departed, ended time.Time) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.seen.latencies = append(f.seen.latencies, ended.Sub(departed))
	f.fromDue = append(f.fromDue, ended.Sub(due))
}

func (f *flood) failed(err error, took time.Duration) {
	state := status.Convert(err)
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.seen.failed(err)
	if state.Code() == codes.ResourceExhausted || state.Code() == codes.Unavailable {
		f.refused = append(f.refused, took)
		if !hasRetryInfo(state) {
			f.bare++
		}
	}
}

// call makes one call, with a deadline that counts from when it was due.
func (f *flood) call(number int, due time.Time) {
	defer f.calls.Done()
	defer f.underWay.Add(-1)
	asked := &f.questions.questions[number%len(f.questions.questions)]
	got := asked.reply(number%fullCheckEvery == 0)
	ctx, cancel := f.settings.untilDeadline(due)
	defer cancel()
	var departed departure
	ctx = context.WithValue(ctx, departureKey{}, &departed)
	err := f.connections[number%len(f.connections)].Invoke(ctx, unaryMethod, asked.body, got)
	ended := time.Now()
	if err == nil {
		err = f.questions.check(asked, got)
	}
	switch {
	case err == nil:
		f.answered(due, departed.at, ended)
	case departed.at.IsZero() && status.Code(err) == codes.DeadlineExceeded:
		f.held.Add(1)
	case departed.at.IsZero():
		f.failed(err, ended.Sub(due))
	default:
		f.failed(err, ended.Sub(departed.at))
	}
}

// send starts every call that is due until over is done and returns how many were due.
func (f *flood) send(over context.Context, started time.Time) int {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	offered := 0
	for over.Err() == nil {
		<-ticker.C
		for dueNow := int(time.Since(started).Seconds() * f.settings.rate); offered < dueNow; offered++ {
			if f.underWay.Load() >= int64(f.settings.underWayMax) {
				f.notSent.Add(1)
				continue
			}
			f.underWay.Add(1)
			f.calls.Add(1)
			go f.call(offered, started.Add(time.Duration(float64(offered)/f.settings.rate*float64(time.Second))))
		}
	}
	return offered
}

// watchHealth asks for the server's health on a connection of its own until over is done.
func watchHealth(over context.Context, connection *grpc.ClientConn) healthPart {
	var seen tally
	client := grpc_health_v1.NewHealthClient(connection)
	for over.Err() == nil {
		started := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), healthDeadline)
		answer, err := client.Check(ctx, &grpc_health_v1.HealthCheckRequest{})
		cancel()
		if err == nil && answer.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
			err = status.Error(codes.Unavailable, "not serving")
		}
		if err != nil {
			seen.failed(err)
		} else {
			seen.latencies = append(seen.latencies, time.Since(started))
		}
		time.Sleep(healthEvery)
	}
	failed := 0
	for _, found := range seen.failures {
		failed += found.Count
	}
	return healthPart{len(seen.latencies) + failed, seen.failures, spreadOf(seen.latencies)}
}

func openLoop(over context.Context, s *settings, connections []*grpc.ClientConn, questions *catalogue) (*outcome, error) {
	healthConnection, err := dial(s)
	if err != nil {
		return nil, err
	}
	defer healthConnection.Close()
	f := &flood{settings: s, connections: connections, questions: questions}
	health := make(chan healthPart, 1)
	go func() { health <- watchHealth(over, healthConnection) }()
	started := time.Now()
	offered := f.send(over, started)
	took := time.Since(started)
	f.calls.Wait()
	result := f.seen.outcome(s.mode, took)
	result.Open = &openPart{
		Rate: s.rate, Offered: offered, NotSent: f.notSent.Load(), Held: f.held.Load(), FromDue: spreadOf(f.fromDue),
		Refused: len(f.refused), RefusedBare: f.bare, RefusedAnswer: spreadOf(f.refused), Health: <-health,
	}
	return result, nil
}
