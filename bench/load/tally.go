package main

import (
	"slices"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// failure is what was seen of one status.
type failure struct {
	Count   int    `json:"count"`
	Example string `json:"example"`
}

// tally is what one caller saw. It is not shared while calls run.
type tally struct {
	latencies []time.Duration
	failures  map[string]*failure
}

func (t *tally) failed(err error) {
	state := status.Convert(err)
	t.of(state.Code().String(), state.Message()).Count++
}

func (t *tally) of(name, example string) *failure {
	if t.failures == nil {
		t.failures = map[string]*failure{}
	}
	if t.failures[name] == nil {
		t.failures[name] = &failure{Example: example}
	}
	return t.failures[name]
}

func (t *tally) add(other *tally) {
	t.latencies = append(t.latencies, other.latencies...)
	for name, found := range other.failures {
		t.of(name, found.Example).Count += found.Count
	}
}

func merged(tallies []tally) *tally {
	all := &tally{}
	for i := range tallies {
		all.add(&tallies[i])
	}
	return all
}

// spread describes latencies in microseconds.
type spread struct {
	P50 float64 `json:"p50_us"`
	P90 float64 `json:"p90_us"`
	P99 float64 `json:"p99_us"`
	Max float64 `json:"max_us"`
}

func spreadOf(latencies []time.Duration) spread {
	if len(latencies) == 0 {
		return spread{}
	}
	slices.Sort(latencies)
	at := func(share float64) float64 {
		index := min(int(share*float64(len(latencies))), len(latencies)-1)
		return float64(latencies[index]) / float64(time.Microsecond)
	}
	return spread{P50: at(0.50), P90: at(0.90), P99: at(0.99), Max: at(1)}
}

// outcome is the JSON object that a run prints.
type outcome struct {
	Mode    string  `json:"mode"`
	Seconds float64 `json:"seconds"`
	OK      int     `json:"ok"`
	PerS    float64 `json:"ok_per_s"`
	// Failures by the name of their status. A right status with a wrong answer is DataLoss, with an error in an item that error.
	Failures map[string]*failure `json:"failures"`
	Latency  spread              `json:"latency"`
	// ClientCPU is the user and system time of this client for each answered call, in microseconds.
	ClientCPU float64   `json:"client_cpu_us"`
	Open      *openPart `json:"open,omitempty"`
}

func (t *tally) outcome(mode string, took time.Duration) *outcome {
	answered := len(t.latencies)
	return &outcome{
		Mode: mode, Seconds: took.Seconds(), OK: answered, PerS: float64(answered) / took.Seconds(),
		Failures: t.failures, Latency: spreadOf(t.latencies),
		ClientCPU: float64(cpuTime()/time.Microsecond) / float64(max(answered, 1)),
	}
}

func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// isOver tells the end of the run from a failure of the server.
func isOver(err error) bool {
	return status.Code(err) == codes.Canceled
}
