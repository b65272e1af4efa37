# Ottla's commands. `make help` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TEST_PROCESSES ?= 2
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: run test lint bench bench-kafka nightly screenshots clean help

run: $(VENV)/.run-installed ## Start everything (options: OTTLA_* variables, see `manage.py up --help`)
	@exec $(BIN)/python manage.py up

test: lint ## Everything a change has to pass: lint, types, tests
	@sh .ci/install-test-tools
	$(BIN)/pytest -n $(TEST_PROCESSES) --no-loadscope-reorder

lint: $(VENV)/.dev-installed ## Style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.dev-installed ## Measure the broker; a table here, JSON in bench/results/
	$(BIN)/python -m bench

bench-kafka: $(VENV)/.dev-installed ## The same beside Apache Kafka, with ratios (needs Java and Maven)
	$(BIN)/python -m bench.apache

nightly: $(VENV)/.dev-installed ## Tests too slow for every change
	@sh .ci/install-test-tools
	$(BIN)/pytest -m nightly --timeout 1800

screenshots: $(VENV)/.dev-installed ## Pictures of every page in screenshots/
	@sh .ci/install-test-tools
	$(BIN)/python -m tests.browser.screenshots

clean: ## Remove the virtual environment and caches; ./var with your data stays
	rm -rf $(VENV) build dist screenshots .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.run-installed: pyproject.toml constraints.txt | $(VENV)/bin/pip
	$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/.dev-installed: pyproject.toml constraints.txt | $(VENV)/bin/pip
	$(PIP_INSTALL) --editable '.[dev]'
	@touch $@ $(VENV)/.run-installed

$(VENV)/bin/pip:
	@PYTHON=$(PYTHON) sh .ci/make-venv $(VENV)
