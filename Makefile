# gpucells: every target makes what it needs. `make demo` and `make test` work on a fresh machine.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

VENV ?= .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?=

.PHONY: help demo test check docs bench gpu wheel clean

help:
	@echo "make demo    simulate a movie, extract its cells, write demo/cells.h5, demo/report.html, demo/report.png"
	@echo "make test    the whole test suite"
	@echo "make check   format, lint, types, layers, architecture"
	@echo "make docs    the pages and the API as a site: docs/_build/index.html"
	@echo "make bench   accuracy over the movies of ../shared/data"
	@echo "make gpu     on a machine with a GPU: its tests, evidence and benchmarks, with the Python at hand"
	@echo "make wheel   dist/*.whl"
	@echo "make clean   remove what these made"

demo: $(VENV)/.installed
	$(BIN)/gpucells demo

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n auto --maxprocesses 8 $(PYTEST_ARGS)

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/architecture

docs: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx -b html -c docs -W --keep-going -q . docs/_build
	@echo "$(CURDIR)/docs/_build/index.html"

bench: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/accuracy.py

gpu:
	$${PYTHON:-python3} benchmarks/gpu.py

wheel: $(VENV)/.installed-dev
	rm -rf dist
	$(BIN)/python -m build --wheel --outdir dist .

clean:
	rm -rf $(VENV) dist build demo docs/_build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e .
	touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e ".[dev]"
	touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e ".[docs]"
	touch $@ $(VENV)/.installed

# The newest of Python 3.13, 3.12, 3.11 that runs and can make an environment; PYTHON=... picks another one.
$(BIN)/python:
	@for candidate in $${PYTHON:-python3.13 python3.12 python3.11 python3 python}; do \
	  if "$$candidate" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; \
	  then echo "$(VENV): $$("$$candidate" --version) ($$candidate)"; exec "$$candidate" -m venv --clear $(VENV); fi; \
	done; \
	echo "gpucells needs Python 3.11, 3.12 or 3.13 with the venv module, and found none on the PATH." >&2; \
	echo "Install one (Debian and Ubuntu: apt install python3-venv), or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; \
	exit 1
