package main

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
)

// reply is the place for the bytes of one response. They are copied only where keep is set or where their number is
// not the expected one; otherwise they are only counted.
type reply struct {
	expected int
	keep     bool
	size     int
	bytes    []byte
}

// rawCodec sends bytes as they are and hands back bytes, so that the client spends nothing on messages.
type rawCodec struct{}

var _ encoding.CodecV2 = rawCodec{}

func (rawCodec) Marshal(message any) (mem.BufferSlice, error) {
	body, ok := message.([]byte)
	if !ok {
		return nil, fmt.Errorf("the raw codec sends []byte, not %T", message)
	}
	return mem.BufferSlice{mem.SliceBuffer(body)}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, message any) error {
	into, ok := message.(*reply)
	if !ok {
		return fmt.Errorf("the raw codec fills a *reply, not %T", message)
	}
	into.size = data.Len()
	if into.keep || into.size != into.expected {
		into.bytes = data.Materialize()
	}
	return nil
}

// Name is that of the real codec: servers see application/grpc+proto.
func (rawCodec) Name() string { return "proto" }
