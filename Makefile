# From a fresh clone: `make demo` or `make test`; both make the environment first.
PYTHON ?= python3
VENV ?= .venv
STACK ?= upstream
EXTRAS ?=
RUN := $(VENV)/bin/python

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help install demo test lint format imports architecture types docs configs unit suite doctor clean

help: ## what can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

install: ## the environment; EXTRAS="pose seg det3d volume", STACK=onedl VENV=.venv-onedl
	@$(PYTHON) tools/setup/install.py --venv "$(VENV)" --stack "$(STACK)" --extras "$(EXTRAS)"

demo: install ## train a small detector plain and self-distilled on handwritten digits, eight minutes on two cores
	@$(RUN) tools/demo.py

# The extras that the tests and the configs need; a variable of a target holds for what it depends on.
test: EXTRAS := pose seg volume det3d
test: lint imports types docs configs suite ## the whole quality gate

lint: install ## style and format
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

format: install ## put style and format right
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

imports: install ## directions of imports between packages
	$(VENV)/bin/lint-imports --no-logo --no-cache

architecture: install ## write the packages and their imports into docs/architecture.md
	$(RUN) tools/setup/architecture.py

types: install ## static types
	$(RUN) -m mypy

docs: install ## HTML pages in docs/_build, warnings are errors
	$(RUN) -m sphinx -W --keep-going -q -b html docs docs/_build/html

configs: install ## build everything that each config names
	$(RUN) tools/setup/check_configs.py

unit: install ## fast tests and doctests, without slow ones and several processes
	$(RUN) -m pytest -q -m "not slow and not distributed"

suite: install ## every test and doctest
	$(RUN) -m pytest -q

doctor: install ## what is installed and what is missing
	@$(RUN) tools/doctor.py

clean: ## remove what was made, except the environment and trained models
	rm -rf build dist docs/_build .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
