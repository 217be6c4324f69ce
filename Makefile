# Legato: everything a fresh clone needs, from python3 >= 3.11, make, node and npm.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Twice quiet is errors only; npm's errors go to stderr.
PIP := .venv/bin/pip --quiet --quiet --disable-pip-version-check --no-input
NPM_CI := npm ci --loglevel=error --no-fund --no-audit --no-update-notifier
VENDURE := peers/vendure/node_modules/.installed
COMMERCETOOLS := peers/commercetools/node_modules/.installed
# The one released state of the contracts that `make proto-breaking` protects.
RELEASED := protos/released.binpb

.PHONY: help
help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 25

.PHONY: setup
setup: .venv/dev.stamp ## install what developing and testing need into .venv

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Legato needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv

.venv/dev.stamp: requirements/dev.lock pyproject.toml | .venv/bin/python
	$(PIP) install --require-hashes -r requirements/dev.lock
	$(PIP) install --no-deps --no-build-isolation -e .
	touch $@ .venv/hub.stamp

# The demo needs less than developing does; both locks agree, so one environment serves both.
.venv/hub.stamp: requirements/hub.lock pyproject.toml | .venv/bin/python
	$(PIP) install --require-hashes -r requirements/hub.lock
	$(PIP) install --no-deps --no-build-isolation -e .
	touch $@

$(VENDURE) $(COMMERCETOOLS): peers/%/node_modules/.installed: peers/%/package-lock.json peers/%/package.json
	cd peers/$* && $(NPM_CI) > /dev/null
	touch $@

.PHONY: demo
demo: .venv/hub.stamp $(if $(filter vendure,$(BACKEND)),$(VENDURE)) $(if $(filter commercetools,$(BACKEND)),$(COMMERCETOOLS)) ## three live channels on one cart; ONCE=1 plays a script, HUBS=2 runs two hubs, BACKEND=vendure a real shop, BACKEND=commercetools an emulated one
	exec legato demo $(if $(filter-out 0,$(ONCE)),--once) $(if $(BACKEND),--backend $(BACKEND)) $(if $(HUBS),--hubs $(HUBS))

.PHONY: test
test: setup $(VENDURE) $(COMMERCETOOLS) lint ## everything: set-up, lint, all tests
	pytest -n 2 --dist loadfile

.PHONY: robustness
robustness: setup ## every fault against real hubs, and the promises that must hold all the same; SEED=n for another course
	@python -m tests.robustness $(if $(SEED),--seed $(SEED))

.PHONY: mutants
mutants: setup ## hubs that break one promise each, all of which the robustness suite must catch
	@python -m tests.robustness.prove

.PHONY: bench
bench: setup ## the hub's cost beside bare grpc.aio doing the same work: one `name value unit` line a figure
	@python -m bench

.PHONY: bench-growth
bench-growth: setup ## whether a command costs the same among 100,000 carts or after 10,000 revisions, and a reconnect storm
	@python -m bench.growth

.PHONY: capabilities
capabilities: setup $(VENDURE) $(COMMERCETOOLS) ## try all adapters, keep what came out, write the README's table of it; ADAPTERS=vendure tries one
	python tools/capabilities.py $(ADAPTERS)

.PHONY: lint
lint: setup check-generated $(if $(wildcard $(RELEASED)),proto-breaking) ## ruff, mypy, buf and the committed generated code
	ruff check --quiet
	ruff format --check --quiet
	mypy --no-error-summary
	buf lint
	buf format --diff --exit-code

.PHONY: format
format: setup ## let ruff and buf rewrite what they can
	ruff check --fix --quiet
	ruff format --quiet
	buf format --write

.PHONY: generate
generate: setup ## write the Python code of protos/ into clients/python
	python tools/generate.py

.PHONY: check-generated
check-generated: setup ## fail if the committed generated code is not what protos/ describes
	python tools/generate.py --check

.PHONY: proto-breaking
proto-breaking: setup ## fail if protos/ breaks clients of the released contracts
	buf breaking --against $(RELEASED)

.PHONY: proto-release
proto-release: setup ## make the present contracts the released ones, at a release
	buf build --exclude-source-info --output $(RELEASED)

.PHONY: lock
lock: ## write the lock files again; UPGRADE=1 takes newer versions
	tools/lock.sh $(if $(filter-out 0,$(UPGRADE)),--upgrade)

.PHONY: clean
clean: ## remove the environment, installed peers and caches
	rm -rf .venv peers/*/node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis
