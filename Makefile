# `make` shows what there is. Everything lives in .venv and .mktgen; nothing else on the machine is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Deliberately small: two cores do it all.
export POLARS_MAX_THREADS ?= 2
export OMP_NUM_THREADS ?= 2
# Tests choose their own places; a developer's instance must not leak into them.
TEST_ENV := env -u MKTGEN_HOME -u MKTGEN_CONFIG -u AIRFLOW_HOME

.DEFAULT_GOAL := help
.PHONY: help install demo up down test pytest lint types arch format clean

help: ## what there is
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-9s %s\n", $$1, $$2}'

install: $(STAMP) ## .venv with the pinned requirements and this package; instant when nothing changed

$(STAMP): requirements.txt requirements-nodeps.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || \
	  { echo 'make: needs Python 3.11 as `$(PYTHON)`: install it (Debian: apt install python3 python3-venv) or say PYTHON=/path/to/python3.11'; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo 'make: Python has no venv module: apt install python3-venv'; exit 1; }
	@test -x $(BIN)/python || { echo 'Creating $(VENV)'; $(PYTHON) -m venv $(VENV); }
	@echo 'Installing pinned requirements (a few minutes the first time)'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-nodeps.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: install ## history, three days by Airflow, approval, feedback, summary (APPROVE=no leaves it waiting)
	@$(BIN)/python -m local.demo

up: install ## start S3, MLflow and Airflow on loopback
	@$(BIN)/python -m local.up

down: ## end exactly what `make up` started
	@if test -x $(BIN)/python; then $(BIN)/python -m local.down; else echo 'Nothing was installed, nothing runs.'; fi

test: install ## lint, types, architecture and all tests
	@$(MAKE) --no-print-directory lint types arch pytest

# Two test processes share two cores: one thread each.
pytest: install
	@$(TEST_ENV) POLARS_MAX_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --durations 15

lint: install ## ruff: rules and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: install ## mypy --strict
	@$(BIN)/mypy

arch: install ## who may import whom
	@$(BIN)/lint-imports

format: install ## rewrite to the common format
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format --quiet .

clean: down ## remove the environment, the state and all caches
	@rm -rf $(VENV) .mktgen .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
