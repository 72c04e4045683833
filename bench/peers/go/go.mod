module github.com/chronoserve/chronoserve/bench/peers/go

go 1.25.0

replace github.com/chronoserve/chronoserve/clients/go => ../../../clients/go

require (
	github.com/chronoserve/chronoserve/clients/go v0.0.0
	github.com/redis/rueidis v1.0.79
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260706201446-f0a921348800
	google.golang.org/grpc v1.84.0
	google.golang.org/protobuf v1.36.12
)

require (
	golang.org/x/net v0.57.0 // indirect
	golang.org/x/sys v0.47.0 // indirect
	golang.org/x/text v0.41.0 // indirect
)
