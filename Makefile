# Every target prepares what it needs (virtual environment, packages, PostgreSQL) by itself.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(firstword $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p"; done))
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ARGS ?=
ORDINARY := not interop and not performance and not soak
# Whole runs mostly wait, so that more processes than cores pay; a selection starts quicker without.
PROCESSES ?= 4
SPREAD = $(if $(strip $(ARGS)),,-n $(PROCESSES) --dist worksteal)

.PHONY: help setup demo test check interop conformance fleet fault bench coverage format clean

help: ## list the commands
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3" >&2; exit 2; }
	@echo "Preparing $(VENV) (once)"
	@"$(PYTHON)" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

setup: $(STAMP) ## create the virtual environment

demo: $(STAMP) ## both workflows through real workers, on an embedded PostgreSQL and simulated providers
	@$(BIN)/v1consortium demo $(ARGS)

test: $(STAMP) ## run the tests on an embedded PostgreSQL (or TEST_DATABASE_URL); ARGS="tests/unit -k cron"
	@$(BIN)/python -m pytest -m "$(ORDINARY)" $(SPREAD) $(ARGS)

interop: $(STAMP) ## run the tests against Go River (needs the Go toolchain)
	@$(BIN)/python -m tests.interop.go_programs
	@$(BIN)/python -m pytest -m interop tests/interop tests/conformance $(SPREAD) $(ARGS)

conformance: $(STAMP) ## play River's 103 scenarios with Go and Python; ARGS="--rounds 10 --report --tiers codec,mixed"
	@$(BIN)/python -m tests.conformance $(ARGS)

fleet: $(STAMP) ## Go and Python clients killed on one database for five minutes (needs the Go toolchain)
	@RIVERJOBS_FLEET_SECONDS=300 $(BIN)/python -m pytest -m interop tests/interop/test_fleet.py $(ARGS)

check: $(STAMP) ## format, lint, types, import contracts, SQL contract
	@$(BIN)/ruff format --check src tests examples benchmarks
	@$(BIN)/ruff check src tests examples benchmarks
	@$(BIN)/mypy
	@PYTHONPATH=src $(BIN)/lint-imports
	@$(BIN)/python -m pytest -q -p no:randomly tests/unit/test_repository.py tests/integration/riverengine/test_sql_contract.py

fault: $(STAMP) ## kill workers, cut connections, restore dumps
	@$(BIN)/python -m pytest -m fault tests/fault $(ARGS)

bench: $(STAMP) ## measure side by side with Go River and PgQueuer (needs Go; minutes); ARGS="--only drain --rounds 3"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@$(BIN)/python -m benchmarks $(ARGS)

coverage: $(STAMP) ## run the tests with coverage; the report is in htmlcov/
	@$(BIN)/python -m pytest -m "$(ORDINARY)" --cov=src --cov-branch --cov-report=term --cov-report=html $(ARGS)

format: $(STAMP) ## format and fix what can be fixed by machine
	@$(BIN)/ruff format src tests examples benchmarks
	@$(BIN)/ruff check --fix src tests examples benchmarks

clean: ## remove what the other commands made
	rm -rf $(VENV) .demo .v1consortium .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis htmlcov .coverage
