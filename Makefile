# Two commands matter: `make verify` and `make test`. Both set up a private .venv first.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-print-directory

export PYTHONUTF8 := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
export PIP_ROOT_USER_ACTION := ignore

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEV_READY := $(VENV)/.ready-dev
INSTALL := $(BIN)/python -m pip install -qq --no-compile --constraint constraints.txt
PYTEST := $(BIN)/python -m pytest --no-header
TEST_FOLDERS := $(wildcard tests/unit tests/cluster tests/faces tests/typing)
SOAK_TESTS := $(wildcard tests/soak/test_*.py)
SOAK_TIMEOUT_S ?= 900

.PHONY: help setup verify test check static soak bench coverage format clean

help:
	@echo "make verify [MEDIA=folder] [STORAGE=folder]   verify media; without MEDIA, samples made on the spot"
	@echo "make test      lint, types, layers and all tests"
	@echo "make check     lint, types, layers and the unit tests (three minutes)"
	@echo "make soak      long tests: load, kills, restarts"
	@echo "make bench     what the machinery costs beside its peers"
	@echo "make coverage  the unit tests with branch coverage"
	@echo "make format    let ruff format and fix"
	@echo "make clean     remove .venv, caches and out/"

# ---------------------------------------------------------------- set-up

$(BIN)/python:
	@for python in python3.11 python3.12 python3.13 python3; do \
	  if command -v $$python >/dev/null && $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
	    echo "Making $(VENV) with $$($$python --version)"; \
	    $$python -m venv $(VENV) && exit 0; \
	    rm -rf $(VENV); echo "Could not make $(VENV); on Debian: apt-get install python3-venv" >&2; exit 1; \
	  fi; \
	done; echo "dfbatch needs Python 3.11 or newer, and found none on PATH" >&2; exit 1

$(READY): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing dfbatch and what it needs into $(VENV); this takes a minute or two the first time"
	@$(INSTALL) hatchling editables \
	  && $(INSTALL) --no-build-isolation --editable '.[samples,notebook]' \
	  || { echo "The installation failed; pip's words are above. Is a package index in reach?" >&2; exit 1; }
	@touch $@

# Who only verifies need not wait for the tools of those who work on dfbatch.
$(DEV_READY): $(READY)
	@echo "Installing what the tests need into $(VENV)"
	@$(INSTALL) --no-build-isolation --editable '.[samples,notebook,test,dev]' \
	  || { echo "The installation failed; pip's words are above. Is a package index in reach?" >&2; exit 1; }
	@touch $@

setup: $(DEV_READY)

# ---------------------------------------------------------------- use

# Exit code 1 of `dfbatch verify` means that some items failed: a result, not an error.
verify: $(READY)
	@mkdir -p out
	@set -- "$${MEDIA:-out/samples}" --out out/results.parquet --report out/report.html; \
	if [ -z "$${MEDIA:-}" ]; then \
	  $(BIN)/dfbatch samples "$$1"; \
	  set -- "$$@" --trust-list "$$1/.truth/trust.pem" --name samples; \
	fi; \
	code=0; \
	$(BIN)/dfbatch verify "$$@" $${STORAGE:+--storage "$$STORAGE"} || code=$$?; \
	if [ $$code -gt 1 ]; then exit $$code; fi

# ---------------------------------------------------------------- tests

# All four speak before any of them stops the run.
static: $(DEV_READY)
	@failed=; \
	say() { echo "$$1"; "$${@:2}" || failed="$$failed, $$1"; }; \
	say "ruff check" $(BIN)/ruff check --quiet --output-format concise .; \
	say "ruff format" $(BIN)/ruff format --quiet --check .; \
	say "mypy" $(BIN)/mypy dfbatch $(wildcard tests/typing); \
	say "import-linter" $(BIN)/lint-imports --no-cache; \
	if [ -n "$$failed" ]; then echo "Not passed: $${failed#, } (make format mends what ruff can)" >&2; exit 1; fi

test: static
	@$(PYTEST) $(TEST_FOLDERS)

check: static
	@$(PYTEST) tests/unit -m "not integration"

soak: $(DEV_READY)
ifeq ($(SOAK_TESTS),)
	@echo "tests/soak holds no tests"
else
	@$(PYTEST) tests/soak -o timeout=$(SOAK_TIMEOUT_S)
endif

bench: $(DEV_READY)
	@mkdir -p out/bench
	@$(BIN)/python -m benchmarks.overhead --out out/bench

coverage: $(DEV_READY)
	@rm -f .coverage .coverage.*
	@$(BIN)/python -m coverage run -m pytest --no-header -q tests/unit
	@$(BIN)/python -m coverage combine --quiet && $(BIN)/python -m coverage report

format: $(DEV_READY)
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format .

clean:
	rm -rf $(VENV) out build dist htmlcov .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
