# Everything installs itself: only Python ≥ 3.11 and make are needed.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help run test lint bench docs notebooks clean
.DEFAULT_GOAL := help

help:  ## List these targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 8

run: .venv/installed  ## Watch MER learn a stream of real digits without forgetting
	$(BIN)/perdure run online digits-rotations --seeds 3 --full-matrix --out runs/online
	$(BIN)/perdure run er digits-rotations --seeds 3 --full-matrix --out runs/er
	$(BIN)/perdure run mer digits-rotations --seeds 3 --full-matrix --out runs/mer
	$(BIN)/perdure report runs/online runs/er runs/mer --figures runs/figures

test: .venv/developed  ## Lint, type-check and test; long tests too with PYTEST_OPTIONS="-m 'not endurance'"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/python -m pytest -n auto $(PYTEST_OPTIONS)

lint: .venv/developed  ## Fix what a tool can fix, report the rest
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/pyright

bench: .venv/developed  ## Measure speed next to plain PyTorch; writes docs/performance.md
	$(BIN)/python benchmarks/suite.py

docs: .venv/documented  ## Build the documentation site in build/site; warnings are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "build/site: python3 -m http.server --directory build/site shows it"

notebooks: .venv/documented  ## Run the notebooks of the documentation and keep what they show
	$(BIN)/jupyter nbconvert --to notebook --execute --inplace docs/tutorials/*.ipynb

clean:  ## Remove the virtual environment
	rm -rf .venv

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; give one: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml .venv/bin/python
	$(BIN)/pip install --disable-pip-version-check --quiet --editable .
	@touch $@

.venv/developed: pyproject.toml .venv/bin/python
	$(BIN)/pip install --disable-pip-version-check --quiet --editable '.[dev]'
	@touch $@ .venv/installed

.venv/documented: pyproject.toml .venv/bin/python
	$(BIN)/pip install --disable-pip-version-check --quiet --editable '.[docs]'
	@touch $@ .venv/installed
