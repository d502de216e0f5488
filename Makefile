# Thin: every target names a script and says what it does. `make help` lists them.
# Build products and tools live under one cache folder outside the checkout (CIM_CACHE, default ~/.cache/cim).

export CIM_CACHE ?= $(HOME)/.cache/cim
export CARGO_TARGET_DIR ?= $(CIM_CACHE)/target

.PHONY: help demo demo-config demo-kafka test test-kafka test-kubernetes image test-all quick lint bench bench-config bench-full bench-kafka bench-peers fuzz torture docs

help: ## Lists the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 25

demo: ## An application publishes, CIM is killed and restarted, nothing accepted is lost (no infrastructure needed)
	@scripts/demo

demo-config: ## Configuration with a real etcd: a first one, a change, and a change that is undone (needs Go)
	@scripts/demo-config

demo-kafka: ## The same with a real Kafka broker that is killed in the middle (needs Java and Maven)
	@scripts/demo-kafka

test: ## Everything that runs in minutes: unit, property, model, conformance, golden, doc and whole-daemon tests (those on a Kubernetes API server where one is built)
	@scripts/test

test-kafka: ## Every fault of a Kafka cluster, also those that take minutes (45 minutes in all)
	@scripts/test-kafka

test-kubernetes: ## The program as a pod of a real API server; manifests, chart and component judged by it (needs Go, 6 minutes once)
	@scripts/test-kubernetes

image: ## The root file system of the image from a release build, and its size, which has a limit
	@scripts/image

test-all: ## As `test`, with the tests that wait for longer than 10 s, then every fuzz target
	@CIM_LONG=1 scripts/test
	@scripts/fuzz

quick: ## Format, lints and unit tests of the library crates; an answer within 3 minutes
	@scripts/quick

lint: ## Format, clippy, documentation, feature matrix, dependency rules, licences
	@scripts/lint

bench: ## Ratio benches, both sides in one run (at most 25 minutes, on a quiet machine)
	@scripts/bench

bench-config: ## Configuration: from a real etcd to the application, a burst, registration, what it costs when idle (needs Go)
	@scripts/bench-config

bench-full: ## As `bench`, with longer slices and more pairs
	@CIM_BENCH_ARGS="--seconds 30 --pairs 7" scripts/bench

bench-kafka: ## Logs and events to Kafka against librdkafka alone, on a broker that keeps nothing and on a real one
	@scripts/bench-kafka

bench-peers: ## CPU time of CIM beside Telegraf and, with CIM_VECTOR, Vector: NATS in, Kafka or a file out
	@scripts/bench-peers

fuzz: ## Every fuzz target for 30 s
	@scripts/fuzz

torture: ## 10,000 kills under load, each sink a third (half an hour), then planted bugs that must be caught
	@scripts/torture

docs: ## API documentation, and the generated reference pages
	@scripts/docs
