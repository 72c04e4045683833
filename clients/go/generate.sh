#!/usr/bin/env bash
# Writes the Go stubs of protos/. They are checked in, so that building a client needs only Go.
set -euo pipefail
cd "$(dirname "$0")"
root="../.."
python="${PYTHON:-$root/.venv/bin/python}"
module="$(go list -m)"
plugins="$(mktemp -d)"
trap 'rm -rf "$plugins"' EXIT
GOBIN="$plugins" go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
GOBIN="$plugins" go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2
common="$("$python" -c 'import google.rpc, pathlib; print(pathlib.Path(list(google.rpc.__path__)[0]).parent.parent)')"
PATH="$plugins:$PATH" "$python" -m grpc_tools.protoc -I "$root/protos" -I "$common" \
  --go_out=. --go_opt="module=$module" --go-grpc_out=. --go-grpc_opt="module=$module" \
  chronoserve/v1/kv.proto chronoserve/v1/fetcher.proto
