#!/usr/bin/env bash
# Builds the native transport (native/) and installs it into the virtual environment. With --optional, a machine without
# cargo, or one that cannot build it, gets one line that says so, and grpcio serves instead.
set -euo pipefail
cd "$(dirname "$0")/.."
python="${PYTHON:-.venv/bin/python}"
optional="${1:-}"
build=build/native
log="$build/build.log"

give_up() {
  echo "native transport: $1; the server runs on grpcio instead (make native)"
  [ "$optional" = --optional ] && exit 0
  exit 1
}

command -v cargo >/dev/null || give_up "not built, because there is no cargo"

# What it is built from, and for which Python: the same again needs no build.
stamp="$(cat native/Cargo.toml native/Cargo.lock native/pyproject.toml native/src/*.rs "scripts/native.sh" <("$python" -VV) | sha256sum)"
if [ "$(cat "$build/stamp" 2>/dev/null)" = "$stamp" ] && "$python" -c 'import chronoserve_native' 2>/dev/null; then
  exit 0
fi

# Cargo.lock in the repository names no registry. Cargo wants the name beside each checksum, and is asked for it here: what
# it downloads must then have the checksums of our file.
rm -rf "$build/crate"
mkdir -p "$build/crate"
cp -r native/Cargo.toml native/pyproject.toml native/src "$build/crate/"
: >"$log"
(cd "$build/crate" && cargo generate-lockfile) >>"$log" 2>&1 || { tail -5 "$log" >&2; give_up "cargo cannot resolve it ($log)"; }
source="$(grep -m1 '^source = ' "$build/crate/Cargo.lock")"
awk -v source="$source" '/^checksum = /{print source} {print}' native/Cargo.lock >"$build/crate/Cargo.lock"
rm -rf "$build/wheels"
CARGO_TARGET_DIR="$PWD/$build/target" "$python" -m maturin build --release --locked --manifest-path "$build/crate/Cargo.toml" \
  --interpreter "$python" --out "$build/wheels" >>"$log" 2>&1 || { tail -20 "$log" >&2; give_up "it does not build ($log)"; }
"$python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --force-reinstall "$build"/wheels/*.whl
"$python" -c 'import chronoserve_native'
echo "$stamp" >"$build/stamp"
echo "native transport: built and installed"
