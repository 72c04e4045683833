package main

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc"
)

const (
	unaryMethod  = "/chronoserve.v1.KVStore/MultiGet"
	streamMethod = "/chronoserve.v1.KVStore/StreamMultiGet"
	// one answer in this many is compared byte for byte; the size of every answer is
	fullCheckEvery = 64
)

// caller asks one question after the other until its context ends.
type caller struct {
	connection *grpc.ClientConn
	questions  *catalogue
	random     *rand.Rand
	settings   *settings
	seen       *tally
	asked      int
}

func (c *caller) next() (*question, *reply) {
	c.asked++
	asked := c.questions.draw(c.random)
	return asked, asked.reply(c.asked%fullCheckEvery == 0)
}

func (c *caller) answered(asked *question, got *reply, started time.Time) {
	took := time.Since(started)
	if err := c.questions.check(asked, got); err != nil && c.settings.check {
		c.seen.failed(err)
		return
	}
	c.seen.latencies = append(c.seen.latencies, took)
}

// unary makes calls until over is done; the call under way then is still awaited, so that no call is cut.
func (c *caller) unary(over context.Context) {
	for over.Err() == nil {
		asked, got := c.next()
		started := time.Now()
		ctx, cancel := c.settings.untilDeadline(started)
		err := c.connection.Invoke(ctx, c.settings.method, asked.body, got, grpc.WaitForReady(c.settings.waitForReady))
		cancel()
		if err != nil {
			c.seen.failed(err)
			continue
		}
		c.answered(asked, got, started)
	}
}

// stream keeps one stream open and makes another when the server ends it, which counts as a failure.
func (c *caller) stream(over context.Context) {
	for over.Err() == nil {
		if err := c.oneStream(over); err != nil && !isOver(err) {
			c.seen.failed(err)
		}
	}
}

func (c *caller) oneStream(over context.Context) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	description := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	stream, err := c.connection.NewStream(ctx, description, streamMethod, grpc.WaitForReady(c.settings.waitForReady))
	if err != nil {
		return err
	}
	return c.talk(over, stream)
}

// sent is a message that waits for its answer.
type sent struct {
	asked   *question
	got     *reply
	started time.Time
}

// talk keeps so many messages under way: for each answer it sends the next one.
func (c *caller) talk(over context.Context, stream grpc.ClientStream) error {
	underWay := make([]sent, 0, c.settings.underWay)
	for {
		for over.Err() == nil && len(underWay) < c.settings.underWay {
			asked, got := c.next()
			underWay = append(underWay, sent{asked, got, time.Now()})
			if stream.SendMsg(asked.body) != nil {
				return stream.RecvMsg(got)
			}
		}
		if len(underWay) == 0 {
			return stream.CloseSend()
		}
		oldest := underWay[0]
		if err := stream.RecvMsg(oldest.got); err != nil {
			return err
		}
		c.answered(oldest.asked, oldest.got, oldest.started)
		underWay = append(underWay[:0], underWay[1:]...)
	}
}

// closedLoop runs the callers until over is done, each with one call under way at a time.
func closedLoop(over context.Context, s *settings, connections []*grpc.ClientConn, questions *catalogue) *outcome {
	tallies := make([]tally, s.callers)
	started := time.Now()
	var running sync.WaitGroup
	for i := range s.callers {
		c := &caller{connections[i%len(connections)], questions, newRandom(s.seed + uint64(i) + 1), s, &tallies[i], 0}
		running.Go(func() {
			if s.mode == modeStream {
				c.stream(over)
			} else {
				c.unary(over)
			}
		})
	}
	running.Wait()
	return merged(tallies).outcome(s.mode, time.Since(started))
}
