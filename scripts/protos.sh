#!/usr/bin/env bash
# Writes the Python stubs of protos/ into server/chronoserve/v1 (or into the folder given as $1).
set -euo pipefail
cd "$(dirname "$0")/.."
out="${1:-server}"
python="${PYTHON:-.venv/bin/python}"
common="$("$python" -c 'import google.rpc, pathlib; print(pathlib.Path(list(google.rpc.__path__)[0]).parent.parent)')"
mkdir -p "$out"
"$python" -m grpc_tools.protoc -I protos -I "$common" \
  --python_out="$out" --pyi_out="$out" --grpc_python_out="$out" \
  protos/chronoserve/v1/kv.proto protos/chronoserve/v1/fetcher.proto protos/chronoserve/v1/external.proto
