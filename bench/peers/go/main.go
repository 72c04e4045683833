// The yardstick of the benchmark: MultiGet and Get of chronoserve.v1.KVStore as a small Go service in front of Redis.
//
// grpc-go with its defaults and rueidis with its defaults (automatic pipelining over a few connections), no layers of
// any kind. Redis keys are peer:<dataset>:<key>; a value is its event time as 8 bytes, big-endian, then its bytes:
// what such a service would store, and cheaper to read than the server's own layout, so the comparison does not
// flatter us.
package main

import (
	"context"
	"encoding/binary"
	"flag"
	"log"
	"net"
	"os/signal"
	"syscall"

	"github.com/redis/rueidis"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"

	kv "github.com/chronoserve/chronoserve/clients/go/chronoservev1"
)

const millisBytes = 8

type kvStore struct {
	kv.UnimplementedKVStoreServer
	redis rueidis.Client
}

func storedKey(request *kv.GetRequest) string {
	return "peer:" + request.GetDataset() + ":" + string(request.GetKeyBytes())
}

// timedValue reads one stored value; it shares the bytes of the message.
func timedValue(message *rueidis.RedisMessage, request *kv.GetRequest) (*kv.GetResponse, error) {
	if message.IsNil() {
		return &kv.GetResponse{}, nil
	}
	stored, err := message.AsBytes()
	if err != nil {
		return nil, err
	}
	if len(stored) < millisBytes {
		return nil, status.Error(codes.DataLoss, "a stored value is shorter than its event time")
	}
	millis := int64(binary.BigEndian.Uint64(stored))
	if request.AfterTsMillis != nil && millis < request.GetAfterTsMillis() {
		return &kv.GetResponse{}, nil
	}
	return &kv.GetResponse{Values: []*kv.TimedValue{{Bytes: stored[millisBytes:], Millis: millis}}}, nil
}

func (s *kvStore) read(ctx context.Context, requests []*kv.GetRequest) ([]*kv.GetResponse, error) {
	keys := make([]string, len(requests))
	for i, request := range requests {
		keys[i] = storedKey(request)
	}
	messages, err := s.redis.Do(ctx, s.redis.B().Mget().Key(keys...).Build()).ToArray()
	if err != nil {
		return nil, status.Error(codes.Unavailable, "redis did not answer")
	}
	responses := make([]*kv.GetResponse, len(requests))
	for i := range messages {
		if responses[i], err = timedValue(&messages[i], requests[i]); err != nil {
			return nil, err
		}
	}
	return responses, nil
}

func (s *kvStore) Get(ctx context.Context, request *kv.GetRequest) (*kv.GetResponse, error) {
	responses, err := s.read(ctx, []*kv.GetRequest{request})
	if err != nil {
		return nil, err
	}
	return responses[0], nil
}

func (s *kvStore) MultiGet(ctx context.Context, request *kv.MultiGetRequest) (*kv.MultiGetResponse, error) {
	if len(request.GetRequests()) == 0 {
		return &kv.MultiGetResponse{}, nil
	}
	responses, err := s.read(ctx, request.GetRequests())
	if err != nil {
		return nil, err
	}
	return &kv.MultiGetResponse{Responses: responses}, nil
}

func serve(ctx context.Context, listen, address string) error {
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{address}, DisableCache: true})
	if err != nil {
		return err
	}
	defer client.Close()
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	kv.RegisterKVStoreServer(server, &kvStore{redis: client})
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	reflection.Register(server)
	context.AfterFunc(ctx, server.GracefulStop)
	return server.Serve(listener)
}

func main() {
	listen := flag.String("listen", "127.0.0.1:50061", "address to serve on")
	address := flag.String("redis", "127.0.0.1:6379", "address of Redis")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, *listen, *address); err != nil {
		log.Fatal(err)
	}
}
