# Legato: everything a fresh clone needs, from python3 >= 3.11, make, node and npm.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
# No colours, no progress bars, no notices: what pip and npm still print is an error worth reading.
PIP := $(BIN)/pip --quiet --disable-pip-version-check --no-input
NPM_CI := npm ci --loglevel=error --no-fund --no-audit --no-update-notifier

.PHONY: help
help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

.PHONY: setup
setup: .venv/dev.stamp ## install everything that developing and testing need into .venv

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Legato needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv

.venv/dev.stamp: requirements/dev.lock pyproject.toml | .venv/bin/python
	$(PIP) install --require-hashes -r requirements/dev.lock
	$(PIP) install --no-deps --no-build-isolation -e .
	touch $@ .venv/hub.stamp

# The demo needs less than developing does; what is already there stays.
.venv/hub.stamp: requirements/hub.lock pyproject.toml | .venv/bin/python
	$(PIP) install --require-hashes -r requirements/hub.lock
	$(PIP) install --no-deps --no-build-isolation -e .
	touch $@
