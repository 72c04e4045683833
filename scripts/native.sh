#!/usr/bin/env bash
# Builds the native transport (native/) and installs it into the virtual environment.
#   --optional  a machine without cargo, or one that cannot build it, gets one line that says so, and grpcio serves instead
#   --test      its own tests and lints, without installing it
#   --lock      resolve its dependencies again
set -euo pipefail
cd "$(dirname "$0")/.."
python="${NATIVE_PYTHON:-.venv/bin/python}"
mode="${1:-}"
build="$PWD/build/native"
crate="$build/crate"
log="$build/build.log"
export CARGO_TARGET_DIR="$build/target"
mkdir -p "$build"
exec 9>"$build/lock"
! command -v flock >/dev/null || flock 9 # one build at a time

give_up() {
  [ ! -s "$log" ] || tail -20 "$log" >&2
  echo "native transport: $1; the server runs on grpcio (make native)"
  [ "$mode" = --optional ] && exit 0
  exit 1
}

# Cargo.lock in the repository names no registry. Cargo wants the name beside each checksum and is asked for it here; what it
# downloads must then have the checksums of our file.
unlock() {
  rm -rf "$crate"
  mkdir -p "$crate"
  cp -r native/Cargo.toml native/pyproject.toml native/rustfmt.toml native/src "$crate/"
  (cd "$crate" && cargo generate-lockfile) >>"$log" 2>&1 || give_up "cargo cannot resolve its dependencies"
  [ "$mode" = --lock ] && return
  local registry
  registry="$(grep -m1 '^source = ' "$crate/Cargo.lock")"
  awk -v registry="$registry" '/^checksum = /{print registry} {print}' native/Cargo.lock >"$crate/Cargo.lock"
}

: >"$log"
command -v cargo >/dev/null || give_up "not built, because there is no cargo"
case "$mode" in
  --lock)
    unlock
    sed '/^source = /d' "$crate/Cargo.lock" >native/Cargo.lock
    exit 0 ;;
  --test)
    unlock
    cd "$crate"
    cargo fmt --check
    cargo clippy --locked --all-targets -- -D warnings
    cargo test --locked
    exit 0 ;;
esac

# What it is built from, and for which Python: the same again needs no build.
stamp="$(cat native/Cargo.toml native/Cargo.lock native/pyproject.toml native/src/*.rs scripts/native.sh <("$python" -VV) | sha256sum)"
if [ "$(cat "$build/stamp" 2>/dev/null)" = "$stamp" ] && "$python" -c 'import chronoserve_native' 2>/dev/null; then
  exit 0
fi
echo "native transport: building; a minute or two the first time"
unlock
rm -rf "$build/wheels"
"$python" -m maturin build --release --locked --manifest-path "$crate/Cargo.toml" --interpreter "$python" --out "$build/wheels" \
  >>"$log" 2>&1 || give_up "it does not build"
"$python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --force-reinstall "$build"/wheels/*.whl
"$python" -c 'import chronoserve_native'
echo "$stamp" >"$build/stamp"
echo "native transport: built and installed"
