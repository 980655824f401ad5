# Needs GNU make, Python 3.11 or newer and a package index. `make help` lists what there is.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq
# The first one that is new enough; `make PYTHON=/path/to/python3.12` chooses another.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
PYTEST := $(BIN)/python -m pytest -n auto --dist worksteal --benchmark-disable
# What needs more than Python packages is a tier of its own: its marker in pyproject.toml, its name here, and a line below.
TIERS := browser dask package ray spark
KILLS := $(patsubst %,tests/test_%.py,dask ledger ray runners spark)
SOURCES := pyproject.toml $(shell find fastxent -type f ! -path '*/__pycache__/*' 2>/dev/null)

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore
export PIP_NO_INPUT := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-all test-kills $(TIERS:%=test-%) lint fuzz signatures schema notebooks pictures docs bench data install clean

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 20

demo: $(VENV)/.demo ## install fastxent into .venv and score the two sets of predictions in data/
	@echo '$$ fastxent evaluate data/digits.parquet --logits logits --target label'
	@$(BIN)/fastxent evaluate data/digits.parquet --logits logits --target label
	@echo
	@echo '$$ fastxent evaluate data/breast_cancer.parquet --logits logit --target label --task binary'
	@$(BIN)/fastxent evaluate data/breast_cancer.parquet --logits logit --target label --task binary

test: $(VENV)/.test ## run the tests; ARGS="-k words" or any other options go to pytest
	@$(PYTEST) -m "not ($(subst $(eval) , or ,$(TIERS)))" $(ARGS)

test-browser: $(VENV)/.test ## run the tests that open reports in Chromium
test-dask: $(VENV)/.test ## run the tests that start a cluster of Dask
test-package: $(VENV)/.test ## build the package, install it into clean environments and try it there
test-ray: $(VENV)/.test ## run the tests that start Ray
test-spark: $(VENV)/.test ## run the tests that start Spark
$(TIERS:%=test-%):
	@$(PYTEST) -m $(@:test-%=%) $(ARGS)

test-kills: $(VENV)/.test ## run the tests that kill workers and drivers ten times in a row; TIMES=1 once
	@for i in $$(seq $(if $(TIMES),$(TIMES),10)); do \
		$(BIN)/python -m pytest -q -k "kill or dies or end_with" $(KILLS) || exit; echo "$$i times"; done

test-all: $(VENV)/.test ## run all tests
	@$(PYTEST) $(ARGS)

lint: $(VENV)/.dev ## ruff (rules and format) and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

fuzz: $(VENV)/.fuzz ## fuzz the parsers and write docs/fuzzing.md; SECONDS=720 (of each of five) makes an hour
	@$(BIN)/python -m tests.fuzzing --seconds $(if $(SECONDS),$(SECONDS),15) --table docs/fuzzing.md

signatures: $(VENV)/.test ## write the keywords of the public functions from their definitions
	@$(BIN)/python -m tests.signatures --write

schema: $(VENV)/.test ## write the JSON Schema of results from their definitions
	@$(BIN)/python -m tests.json_schema --write

notebooks: $(VENV)/.test ## run the examples whose notebooks are stale
	@$(BIN)/python -m tests.notebooks --write

pictures: $(VENV)/.test ## make the example report of the documents and its picture
	@$(BIN)/python -m tests.pictures --write

docs: $(VENV)/.test ## build the pages into docs/build, warnings are errors
	@$(BIN)/python -m sphinx -q -W --keep-going docs docs/build
	@echo 'docs/build/index.html'

bench: $(VENV)/.bench ## measure against the alternatives; ARGS goes to python -m bench
	@$(BIN)/python -m bench $(ARGS)

data: $(VENV)/.test ## make the files in data/ anew
	@$(BIN)/python data/make_data.py

install: $(VENV)/.dev ## install everything a developer needs into .venv

clean: ## remove .venv and everything else that was made here
	@rm -rf $(VENV) build dist docs/build .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	@find . -path ./.git -prune -o -type d -name __pycache__ -exec rm -rf {} +

# One environment, marked with what is in it. An editable install serves the demo as well.

$(VENV)/.python:
	@p="$(PYTHON)"; test -n "$$p" || { echo "fastxent needs Python 3.11 or newer, and none was found. Name one: make PYTHON=/path/to/python3" >&2; exit 1; }; \
	v=$$("$$p" -c 'import sys; print("%d.%d" % sys.version_info[:2], int(sys.version_info >= (3, 11)))' 2>&1) && test "$${v#* }" = 1 || \
	{ echo "fastxent needs Python 3.11 or newer; $$p is: $${v% [01]}. Name another: make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -m venv --clear $(VENV) || { rm -rf $(VENV); echo "$(PYTHON) could not make $(VENV); on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@touch $@

$(VENV)/.demo: $(SOURCES) | $(VENV)/.python
	@if ! test $(VENV)/.test -nt pyproject.toml; then echo "Installing fastxent into $(VENV) ..."; $(PIP) '.[compare,plot,report]'; fi
	@touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/.python
	@echo "Installing fastxent and its test tools into $(VENV) ..."
	@$(PIP) -e '.[test]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/.python
	@echo "Installing fastxent and its development tools into $(VENV) ..."
	@$(PIP) -e '.[dev]'
	@touch $(VENV)/.test $@

$(VENV)/.fuzz: pyproject.toml | $(VENV)/.test
	@echo "Installing the fuzzer into $(VENV) ..."
	@$(PIP) -e '.[test,fuzz]'
	@touch $@

$(VENV)/.bench: pyproject.toml | $(VENV)/.test
	@echo "Installing what the benchmarks compare with into $(VENV) ..."
	@$(PIP) -e '.[test,bench]'
	@touch $@
