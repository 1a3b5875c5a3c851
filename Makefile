# Needs only make and Python 3.11 or newer with pip; all else goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PEERS := $(VENV)/.peers
BENCH := $(VENV)/.bench
# Tests take turns on the processors; a campaign and a measurement stay alone.
PYTEST := $(BIN)/python -m pytest
PARALLEL := --numprocesses auto --dist worksteal
# pytest ends with 5 when a tier holds no test yet; that is no failure.
OR_EMPTY := || test $$? -eq 5

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-all check bench torture prove mutants clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 14

setup: $(STAMP) ## make .venv with the project and its tools, when they changed

# A system Python without ensurepip makes the environment empty and fills it
# with its own pip.
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) \
	  and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 \
	  || $(PYTHON) -m venv --clear $(VENV) >/dev/null 2>&1 \
	  || { $(PYTHON) -m venv --clear --without-pip $(VENV) \
	       && $(PYTHON) -m pip --python $(BIN)/python install --quiet pip; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --editable '.[dev]'
	@touch $@

demo: setup ## put a real tree of files through the store and report
	$(BIN)/objstore demo

test: setup ## the quick tier: every promise in its short form
	$(PYTEST) $(PARALLEL) -m "not slow and not torture"

test-slow: setup ## what test-all adds to test
	$(PYTEST) $(PARALLEL) -m "slow and not torture" $(OR_EMPTY)

test-all: setup ## every test except the campaigns
	$(PYTEST) $(PARALLEL) -m "not torture"

check: setup ## format, lint, types (two checkers) and import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports

bench: $(BENCH) ## measure, compare with limits and peers, write the report
	$(BIN)/python -m benchmarks --publish $(NAMES)

$(BENCH): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --editable '.[bench]'
	@touch $@

torture: setup ## campaigns of faults and load, TORTURE_MINUTES=30
	HYPOTHESIS_PROFILE=thorough $(PYTEST) -m torture $(OR_EMPTY)
	$(BIN)/python -m tests.torture

prove: $(PEERS) ## the same faults for us and for the peers, PROVE="--seed 1"
	$(BIN)/python -m tests.prove $(PROVE)

$(PEERS): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --editable '.[prove]'
	@touch $@

mutants: setup ## plant known faults in copies of the tree; tests must see each
	$(BIN)/python -m tests.mutants

clean: ## remove what make made, .venv too
	rm -rf $(VENV) build dist .coverage htmlcov .hypothesis \
	  .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
