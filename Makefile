# From a fresh clone: `make demo` or `make test`; both make the environment first.
PYTHON ?= python3
VENV ?= .venv
STACK ?= upstream
EXTRAS ?=
JOBS ?= 2
MATRIX ?=
PROTOCOLS ?= $(wildcard results/*/protocol.py)
RUN := $(VENV)/bin/python
# Each file of tests runs in one of JOBS processes with one thread each, in the order of tests/conftest.py. Python keeps
# what it compiles, also where the environment forbids it: a process that a test starts needs a second less.
PYTEST := OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(RUN) -m pytest -q -n $(JOBS) --dist loadfile --no-loadscope-reorder
# Every target first adds what it needs to the environment. A finished environment is recognised in a tenth of a second.
NEED = @$(PYTHON) tools/setup/install.py --venv "$(VENV)" --stack "$(STACK)" --extras

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help install demo test lint format imports architecture types docs static configs unit suite complete matrix experiments doctor clean

help: ## what can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

install: ## detection; EXTRAS="pose seg det3d volume timm views export docs dev", STACK=onedl VENV=.venv-onedl
	$(NEED) "$(EXTRAS)"

demo: ## train a small detector on few labels, with and without unlabelled images, under eight minutes from a fresh clone
	$(NEED) "$(EXTRAS)" --then-demo
	@$(RUN) tools/demo.py

# The extras that the tests and the configs need are installed together, before the first check.
test: complete lint imports static configs suite ## the whole quality gate

complete:
	$(NEED) "pose seg volume det3d timm views export docs dev"

lint: ## style and format
	$(NEED) "$(EXTRAS) dev"
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

format: ## put style and format right
	$(NEED) "$(EXTRAS) dev"
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

imports: ## directions of imports between packages
	$(NEED) "$(EXTRAS) dev"
	$(VENV)/bin/lint-imports --no-logo --no-cache

architecture: ## write the packages and their imports into docs/architecture.md
	$(NEED) "$(EXTRAS) dev"
	$(RUN) tools/setup/architecture.py

types: ## static types
	$(NEED) "$(EXTRAS) dev"
	$(RUN) -m mypy

docs: ## HTML pages in docs/_build, warnings are errors
	$(NEED) "$(EXTRAS) docs"
	$(RUN) -m sphinx -W --keep-going -q -b html docs docs/_build/html

# Both take one core for about a minute.
static: ## types and docs, side by side
	$(NEED) "$(EXTRAS) docs dev"
	@$(MAKE) --no-print-directory types & types=$$!; \
	$(MAKE) --no-print-directory docs; docs=$$?; wait $$types && exit $$docs

configs: ## build everything that each config names
	$(NEED) "$(EXTRAS)"
	$(RUN) tools/setup/check_configs.py --jobs $(JOBS)

unit: ## fast tests and doctests, without slow ones and several processes
	$(NEED) "$(EXTRAS) dev"
	$(PYTEST) -m "not slow and not distributed"

suite: ## every test and doctest
	$(NEED) "$(EXTRAS) dev"
	$(PYTEST)

matrix: ## core tests with every supported torch and both stacks; MATRIX="torch-2.1.0" chooses, each column takes minutes
	$(PYTHON) tools/setup/matrix.py $(MATRIX)

experiments: ## train and test what protocols describe and is missing; PROTOCOLS="results/NAME/protocol.py" chooses
	$(NEED) "pose seg volume det3d timm"
	OMP_NUM_THREADS=1 $(RUN) -m kd_plugins experiments $(PROTOCOLS) --jobs $(JOBS)

doctor: ## what is installed and what is missing
	$(NEED) "$(EXTRAS)"
	@$(RUN) tools/doctor.py

clean: ## remove what was made, except the environment and trained models
	rm -rf build dist docs/_build .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
