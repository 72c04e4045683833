// The example reads keys of a dataset and fetches a join:
//
//	go run ./cmd/example 127.0.0.1:50051 DATASET KEY JOIN NAME=VALUE AT_MILLIS
package main

import (
	"context"
	"fmt"
	"log"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	chronoserve "github.com/chronoserve/chronoserve/clients/go"
	pb "github.com/chronoserve/chronoserve/clients/go/chronoservev1"
)

func main() {
	if len(os.Args) != 7 {
		log.Fatal("usage: example ADDRESS DATASET KEY JOIN NAME=VALUE AT_MILLIS")
	}
	connection, err := grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(chronoserve.RetryReads))
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	// One deadline for all attempts: the server reads it too, and stops working when nobody waits any more.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	multiGet(ctx, pb.NewKVStoreClient(connection), os.Args[2], os.Args[3])
	fetch(ctx, pb.NewFetcherClient(connection), os.Args[4], os.Args[5], os.Args[6])
}

// multiGet asks for the key and for one that is not there: answers come in the order of the requests, and a value, a miss and an error
// are three different answers.
func multiGet(ctx context.Context, store pb.KVStoreClient, dataset, key string) {
	keys := []string{key, key + " that is not there"}
	var requests []*pb.GetRequest
	for _, each := range keys {
		requests = append(requests, &pb.GetRequest{Dataset: dataset, KeyBytes: []byte(each)})
	}
	answer, err := store.MultiGet(ctx, &pb.MultiGetRequest{Requests: requests})
	if err != nil {
		log.Fatal(err)
	}
	for at, response := range answer.GetResponses() {
		switch values := response.GetValues(); {
		case response.GetError() != nil:
			fmt.Printf("%s\terror\t%s\n", keys[at], response.GetError().GetMessage())
		case len(values) == 0:
			fmt.Printf("%s\tmiss\n", keys[at])
		default:
			fmt.Printf("%s\tvalue\t%d bytes\n", keys[at], len(values[len(values)-1].GetBytes()))
		}
	}
}

func fetch(ctx context.Context, fetcher pb.FetcherClient, join, pair, atMillis string) {
	name, value, _ := strings.Cut(pair, "=")
	at, err := strconv.ParseInt(atMillis, 10, 64)
	if err != nil {
		log.Fatal(err)
	}
	keys := map[string]*pb.Value{name: {Kind: &pb.Value_StringValue{StringValue: value}}}
	answer, err := fetcher.FetchJoins(ctx, &pb.FetchRequest{Requests: []*pb.FeatureRequest{{Name: join, Keys: keys, AtMillis: &at}}})
	if err != nil {
		log.Fatal(err)
	}
	for _, row := range answer.GetResponses() {
		fmt.Printf("%s\t%s\t%s\n", join, row.GetStatus(), row.GetError().GetMessage())
		for part, failed := range row.GetPartErrors() {
			fmt.Printf("%s\terror\t%s\n", part, failed.GetMessage())
		}
		for _, feature := range slices.Sorted(maps.Keys(row.GetFeatures())) {
			fmt.Printf("%s\t%v\n", feature, shown(row.GetFeatures()[feature]))
		}
	}
}

func shown(value *pb.Value) any {
	switch kind := value.GetKind().(type) {
	case *pb.Value_IntValue:
		return kind.IntValue
	case *pb.Value_DoubleValue:
		return kind.DoubleValue
	case *pb.Value_StringValue:
		return kind.StringValue
	case *pb.Value_BoolValue:
		return kind.BoolValue
	case *pb.Value_NullValue, nil:
		return nil
	default:
		return value
	}
}
