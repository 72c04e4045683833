# The only door, for people and for CI. `make` alone lists what there is.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
ONLY ?=
GOLDEN ?= tests/golden

.PHONY: help setup native run test conformance golden bench lint type protos clients image engines lock format reference clean

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.ready ## the virtual environment .venv with everything that tests need, locked by hashes; the native transport if there is cargo
	@scripts/native.sh --optional

.venv/.ready: requirements/dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "chronoserve needs Python 3.11 or later (PYTHON=python3.12 make setup)"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

native: .venv/.ready ## build the native transport (native/) and install it into .venv; ARGS=--test for its own tests
	scripts/native.sh $(ARGS)

run: .venv/.ready ## the demo (what Chronon's JVM wrote, through a server and back), then the quickstart (raw tables to a fetched row; ARGS="--store redis://…")
	$(BIN)/chronoserve demo --no-stay
	$(BIN)/chronoserve quickstart --no-stay $(ARGS)

test: setup ## everything that needs no engine to be installed; the rest is skipped by name
	$(BIN)/pytest $(ARGS)

conformance: setup engines ## the conformance suite on every store
	$(BIN)/pytest tests/conformance $(ARGS)

engines: setup ## install the engines that tests run on (ONLY=redis,cassandra,… for some)
	$(BIN)/python -m tests.engines $(subst $(comma), ,$(ONLY))

comma := ,

golden: setup ## the JVM's recordings in process, over gRPC, over HTTP and on Spark: what is equal, noted, different (GOLDEN=folder)
	$(BIN)/chronoserve verify $(addprefix --against ,$(wildcard $(GOLDEN)/*.jsonl $(GOLDEN)/*.jsonl.gz)) \
	  --through process --through grpc --through http $(ARGS)
	$(BIN)/pytest -q -rs tests/unit/app/test_cli_run.py::test_recorded_call tests/conformance/spark/test_uploads.py

bench: setup ## the benchmark beside its peers; ARGS=--quick for a short one
	$(BIN)/python -m bench.run $(ARGS)

lint: setup ## ruff, the arrows between rooms, buf
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	scripts/buf.sh

type: setup ## mypy, strict
	$(BIN)/mypy

reference: setup ## write docs/reference/derivations.md from the SQL functions that there are
	$(BIN)/python scripts/derivations.py

format: setup ## let ruff put everything in shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

protos: setup ## write the Python stubs from protos/
	scripts/protos.sh

clients: setup ## the clients' own tests
	$(BIN)/pytest tests/unit/client

lock: setup ## resolve the dependencies again
	$(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --universal --python-version 3.11 \
	  -c requirements/held.txt pyproject.toml --extra all --group dev -o requirements/dev.lock
	$(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --universal --python-version 3.11 \
	  -c requirements/held.txt -c requirements/dev.lock pyproject.toml --extra all -o requirements/serve.lock
	printf 'chronon-ai==0.0.115\n' | $(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --no-annotate --universal \
	  --python-version 3.11 --override requirements/chronon.without.txt - -o server/chronoserve/app/compiling/chronon.lock
	scripts/native.sh --lock

image: ## the container image (needs Docker or another builder: BUILDER=buildah\ bud)
	$(or $(BUILDER),docker build) -t chronoserve .

clean: ## remove what make made
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
