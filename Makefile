# Every target builds .venv where it is missing and does nothing twice.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
DEV    := $(VENV)/.ready-dev
export OMP_NUM_THREADS ?= 1

.PHONY: demo test test-slow lint format bench docs clean help

help:            ## what there is
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

demo: $(READY)   ## the whole story on digits, in about a minute; ends by naming the report
	$(BIN)/expunge demo

test: $(DEV)     ## the quick tests
	$(BIN)/pytest -q -n 2

test-slow: $(DEV)  ## tests of speed and of large sizes
	$(BIN)/pytest -q -m slow

lint: $(DEV)     ## ruff and mypy (strict)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(DEV)   ## put the code in shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(DEV)    ## the figures of the README and the docs, measured here
	$(BIN)/python -m benchmarks

docs: $(DEV)     ## the generated pages, from the code
	$(BIN)/python -m docs.generate

$(READY): constraints.txt pyproject.toml
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(DEV): $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:           ## remove what the targets made, finished models included
	rm -rf $(VENV) .expunge expunge-demo expunge-demo.html .mypy_cache .pytest_cache .ruff_cache
