#!/usr/bin/env bash
# Lints protos/, compares them with main, and checks that the stubs in the tree are those that they make.
set -euo pipefail
cd "$(dirname "$0")/.."
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python="${PYTHON:-.venv/bin/python}"
common="$("$python" -c 'import google.rpc, pathlib; print(pathlib.Path(list(google.rpc.__path__)[0]).parent.parent)')"

# buf looks imports up in modules of its own workspace: ours, and google/rpc from googleapis-common-protos.
mkdir -p "$work/now/common/google/rpc"
cp -r protos "$work/now/protos"
cp "$common/google/rpc/status.proto" "$work/now/common/google/rpc/"
cp protos/buf.yaml "$work/now/buf.yaml"
(cd "$work/now" && "$OLDPWD/.venv/bin/buf" lint)

# main as the forge has it; on a first commit there is nothing to break.
base="$(git rev-parse --verify --quiet origin/main || git rev-parse --verify --quiet main || true)"
if [ -n "$base" ] && git cat-file -e "$base:protos/chronoserve/v1/kv.proto" 2>/dev/null; then
  mkdir -p "$work/main/common/google/rpc"
  git archive "$base" protos | tar -x -C "$work/main"
  cp "$work/now/common/google/rpc/status.proto" "$work/main/common/google/rpc/"
  cp protos/buf.yaml "$work/main/buf.yaml"
  (cd "$work/now" && "$OLDPWD/.venv/bin/buf" breaking --against "$work/main")
fi

scripts/protos.sh "$work/stubs"
for stub in "$work"/stubs/chronoserve/v1/*; do
  diff -u "server/chronoserve/v1/$(basename "$stub")" "$stub" || { echo "the stubs are not those of protos/: make protos"; exit 1; }
done
echo "protos: lint, breaking and stubs are fine"
