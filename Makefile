# Everything sets up what it needs in .venv itself; Python ≥ 3.11 is all that must be there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := PATH="$(CURDIR)/$(BIN):$$PATH"

.DEFAULT_GOAL := help
.PHONY: help demo test lint config bench clean

help: ## List the targets
	@grep -E '^[a-z-]+%?:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "bigseg needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml envs/constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --constraint envs/constraints.txt --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint envs/constraints.txt --editable '.[dev]'
	@touch $@

demo: $(VENV)/.installed ## Segment a small synthetic tissue, segment and track a movie of another, show the results
	$(BIN)/python scripts/make_demo_data.py data/demo
	$(BIN)/python scripts/make_demo_data.py data/demo_movie --movie --seed 7
	$(RUN) snakemake --cores all --configfile config/demo.yaml --quiet rules
	$(BIN)/python scripts/show_demo.py config/demo.yaml

test: $(VENV)/.installed-dev ## Run the whole test suite, real workflow runs included
	$(RUN) python -m pytest -n 2 --dist loadgroup $(PYTEST_ARGS)

lint: $(VENV)/.installed-dev ## Check style, types, rules and generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(RUN) snakemake --lint

config: $(VENV)/.installed ## Write config.yaml, its schema and its reference from the models
	$(BIN)/python scripts/generate_config.py

bench: $(patsubst scripts/benchmarks/%.py,bench-%,$(wildcard scripts/benchmarks/[a-z]*.py)) ## Run all benchmarks

bench-%: $(VENV)/.installed-dev ## Run one benchmark, e.g. bench-watershed; the last line is JSON
	@$(RUN) python scripts/benchmarks/$*.py

clean: ## Remove the environment, the demo and caches; never results of yours
	rm -rf $(VENV) $(foreach sample,demo demo_movie,data/$(sample) results/$(sample) results/$(sample).ome.zarr work/$(sample)) \
	  .pytest_cache .mypy_cache .ruff_cache .hypothesis
