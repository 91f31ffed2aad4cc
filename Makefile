# Every target works on a fresh clone: it builds the virtual environment in .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTEST := $(BIN)/pytest
# More at a time than there are cores, because tests wait for sockets and processes most of the time.
PYTESTS := $(PYTEST) --numprocesses 3
# Each starts meshes of its own and kills what is in them. File by file, so that tests of one file share a mesh.
PYTESTS_OF_PROCESSES := $(PYTEST) --numprocesses 2 --dist loadfile --durations 25

.DEFAULT_GOAL := help
.PHONY: help setup lock proto fmt lint test test-unit test-contract test-mesh test-faults test-e2e reliability simulate chaos demo examples examples-tools up bench bench-optimizer bench-metrics bad-day otlp-node scale clean

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Build the virtual environment with every service and the developer's tools

# Nothing is compiled ahead: most of what is installed is never imported, and compiling it takes longer than copying it.
$(STAMP): pyproject.toml constraints.txt hatch_build.py $(shell find protos -name '*.proto')
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Servemesh needs Python 3.11 or newer; say 'make PYTHON=/path/to/python3.11 ...'"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt --editable '.[all,dev]'
	@touch $(STAMP)

lock: ## Write constraints.txt anew: the newest versions that resolve together
	rm -rf .cache/lock && $(PYTHON) -m venv .cache/lock
	.cache/lock/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[all,dev]'
	{ echo "# Versions that resolve together and that the tests passed with. Written by 'make lock'."; \
	  .cache/lock/bin/python -m pip freeze --exclude-editable; } > constraints.txt
	rm -rf .cache/lock

proto: setup ## Generate gen/ from protos/
	$(BIN)/python hatch_build.py

fmt: setup ## Format code and protos
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .
	$(BIN)/buf format -w protos

lint: setup ## Check style, types, imports, file sizes and protos
	$(BIN)/ruff format --check . && $(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint && $(BIN)/buf format --diff --exit-code protos
	$(BIN)/python tests/lint/proto_breaking.py
	$(BIN)/python tests/lint/file_length.py

test: setup lint ## Run everything: lint, unit, contract, mesh, faults and end-to-end tests
	$(PYTESTS) tests/unit tests/contract tests/mesh
	$(PYTESTS_OF_PROCESSES) tests/faults tests/e2e

test-unit: setup ## Domain and services with memory adapters
	$(PYTESTS) tests/unit

test-contract: setup ## Each port's suite on its memory and its real adapters
	$(PYTESTS) tests/contract

test-mesh: setup ## All services in one process over real gRPC
	$(PYTESTS) tests/mesh

test-faults: setup ## Named faults on real processes
	$(PYTESTS_OF_PROCESSES) tests/faults

test-e2e: setup ## `servemesh up` as a user runs it, with third-party clients
	$(PYTESTS_OF_PROCESSES) tests/e2e

reliability: setup ## Run the named faults at full length and write their figures into docs/reliability.md
	SERVEMESH_FAULTS_LENGTH=full SERVEMESH_FAULTS_FIGURES=.cache/reliability.json $(PYTEST) tests/faults
	$(BIN)/python -m bench.reliability_page .cache/reliability.json

simulate: setup ## Ten times the simulated histories of our policies, with seeds that nobody has tried (HISTORIES=10)
	SERVEMESH_SIMULATION_FIRST=$$(date +%s) SERVEMESH_SIMULATION_TIMES=$(or $(HISTORIES),10) \
		$(PYTEST) tests/unit/simulation --timeout=0

chaos: setup ## An hour of every fault in a random order under a steady load (MINUTES=5, SEED=1)
	$(BIN)/python -m chaos --minutes $(or $(MINUTES),60) $(if $(SEED),--seed $(SEED))

demo: setup ## Start a mesh, push two real models, infer, kill a worker, stop
	$(BIN)/python -m examples.demo

examples: setup ## Build the clients in six languages, run them against a mesh, compare what they print (LANGUAGES="go java")
	$(BIN)/python -m examples.polyglot $(LANGUAGES)

examples-tools: ## Install what the clients in six languages are built with, from Debian and npm; needs root
	apt-get update --quiet
	apt-get install --yes --quiet --no-install-recommends $$($(PYTHON) -m examples.polyglot.languages)
	$(MAKE) -C examples/node

up: setup ## Start the local mesh and keep it until Ctrl-C
	$(BIN)/servemesh up

bench: setup ## Measure the mesh beside Triton, MLServer and nginx and write docs/performance.md; QUICK=1 only prints
	$(BIN)/python -m bench $(if $(QUICK),--quick)

bench-optimizer: setup ## Run every pass on six real models, and `auto` against Olive, and write docs/optimizer.md; QUICK=1 only prints
	$(BIN)/python -m bench.optimizer $(if $(QUICK),--quick)

bench-metrics: setup ## Measure the metrics service's intake and store and write docs/metrics.md
	$(BIN)/python -m bench.metrics

otlp-node: setup ## Deliver into the metrics service with OpenTelemetry's own SDK for Node, from npm; needs node
	mkdir -p .cache/otlp-node
	cp tests/e2e/otlp_node/package.json tests/e2e/otlp_node/package-lock.json tests/e2e/otlp_node/.npmrc .cache/otlp-node/
	cd .cache/otlp-node && npm ci --silent
	$(PYTEST) tests/e2e/test_otlp_from_node.py

scale: setup ## Measure what a thousand workers cost gateway, Envoy and registry and write docs/performance.md
	$(BIN)/python -m bench.scale

# Compose v2 where it is installed, else docker-compose 1.29.
COMPOSE = $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose) \
	$(foreach profile,$(PROFILES),--profile $(profile))
COMPOSE_SETTINGS = $(if $(filter minio,$(PROFILES)),SERVEMESH_S3=minio:9000) \
	$(if $(filter observability,$(PROFILES)),OTEL_EXPORTER_OTLP_ENDPOINT=http://otel-collector:4317)

.PHONY: compose-up compose-down compose-test
compose-up: ## Build and start the mesh of compose.yaml (PROFILES="observability minio gpu")
	$(PYTHON) deploy/compose/make_secrets.py
	$(COMPOSE_SETTINGS) $(COMPOSE) build
	$(COMPOSE_SETTINGS) $(COMPOSE) up --detach
	@echo "gRPC at 127.0.0.1:$(or $(SERVEMESH_PORT),8001) and :$(or $(SERVEMESH_SECOND_PORT),8011), REST at :$(or $(SERVEMESH_HTTP_PORT),8000); make compose-down ends it"

compose-down: ## Stop it; VOLUMES=1 also removes what it keeps
	$(COMPOSE) --profile gpu --profile minio --profile observability down $(if $(VOLUMES),--volumes)

compose-test: setup ## Build that mesh on ports of its own, use it, break it, and write docs/compose.md
	$(BIN)/python -m tests.compose --report

bad-day: setup ## Live through a bad day in a minute: alerts, report and forecast must tell it rightly
	$(BIN)/python -m bench.metrics.bad_day --keep .cache/bad-day

clean: ## Remove everything that make has built
	rm -rf $(VENV) gen .cache dist examples/node/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find bench chaos examples libs services tests -name __pycache__ -prune -exec rm -rf {} +
