# Everything a newcomer types. Needs make, python3 (3.11 or newer) and its venv module; the rest is fetched.
#   make run     the archive with demo data, on loopback         make test    all tests (peers by apt-get when root)
#   make check   style, types, layers, budgets, viewer types     make bench   beside DCMTK and Orthanc, into bench/README.md
#   make ohif    OHIF, another viewer, into ohif/ (npm)
# Stamps in .venv say what is done, so that a second run starts at once.

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input
DATA ?= data
ARGS ?=
# Two processes share the files of the tests, in their order (browsers last, see tests/conftest.py). Not more, whatever the
# machine has: tests of memory and of many connections need room. SHARED= runs them in one.
SHARED ?= -n 2 --dist loadfile --no-loadscope-reorder
TYPESCRIPT := typescript@7.0.2
JXL_OXIDE := jxl-oxide-wasm@0.12.5
NODE_CACHE := .cache/node
OHIF := ohif
TSCONFIG := $(firstword $(wildcard src/isocenter/web/static/tsconfig.json tools/tsconfig.json tools/viewer/tsconfig.json))

# A script of bench/ that imports the harness is a benchmark; the rest are its parts
BENCHES := $(shell grep -l "^import harness" bench/*.py 2>/dev/null)

.PHONY: help run test check bench docs clean peers

help:
	@sed -n '1,5p' Makefile | cut -c3-

run: $(VENV)/.installed
	$(BIN)/isocenter serve --demo --data $(DATA) $(ARGS)

test: $(VENV)/.tests-installed peers ohif-for-tests jxl-oxide-for-tests
	$(BIN)/python -m pytest $(SHARED) $(ARGS)

check: $(VENV)/.checks-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/architecture
	@if [ -z "$(TSCONFIG)" ]; then echo "no tsconfig.json: the viewer's types are not checked"; \
	elif command -v npm >/dev/null; then $(MAKE) --no-print-directory viewer-types; \
	elif [ "$${ISOCENTER_REQUIRE_PEERS:-}" = 1 ]; then echo "npm is missing: apt-get install nodejs npm"; exit 1; \
	else echo "SKIPPED: the viewer's types, node is not installed (apt-get install nodejs npm)"; fi

.PHONY: viewer-types
viewer-types: $(NODE_CACHE)/.$(subst @,-,$(TYPESCRIPT))
	$(NODE_CACHE)/node_modules/.bin/tsc --noEmit -p $(TSCONFIG)

$(NODE_CACHE)/.$(subst @,-,$(TYPESCRIPT)):
	mkdir -p $(NODE_CACHE)
	npm install --silent --no-audit --no-fund --no-package-lock --prefix $(NODE_CACHE) $(TYPESCRIPT)
	touch $@

# Fetched and prepared once, and again when that is done otherwise; to be named with `isocenter serve --ohif ohif`
.PHONY: ohif ohif-for-tests
ohif: $(OHIF)/index.html

$(OHIF)/index.html: tools/prepare_ohif.py | $(VENV)/.installed
	$(BIN)/python tools/prepare_ohif.py $(OHIF)

# Tests have a network of their own, in which nothing can be fetched
ohif-for-tests:
	@if command -v npm >/dev/null && $(MAKE) --no-print-directory ohif; then :; \
	elif [ "$${ISOCENTER_REQUIRE_PEERS:-}" = 1 ]; then echo "OHIF could not be fetched, which needs npm"; exit 1; \
	else echo "SKIPPED: tests of OHIF, which npm fetches (apt-get install nodejs npm)"; fi

.PHONY: jxl-oxide jxl-oxide-for-tests
jxl-oxide: $(NODE_CACHE)/.$(subst @,-,$(JXL_OXIDE))

$(NODE_CACHE)/.$(subst @,-,$(JXL_OXIDE)):
	mkdir -p $(NODE_CACHE)
	npm install --silent --no-audit --no-fund --no-package-lock --prefix $(NODE_CACHE) $(JXL_OXIDE)
	touch $@

jxl-oxide-for-tests:
	@if command -v npm >/dev/null && $(MAKE) --no-print-directory jxl-oxide; then :; \
	elif [ "$${ISOCENTER_REQUIRE_PEERS:-}" = 1 ]; then echo "jxl-oxide could not be fetched, which needs npm"; exit 1; \
	else echo "SKIPPED: JPEG XL beside jxl-oxide, which npm fetches (apt-get install nodejs npm)"; fi

bench: $(VENV)/.tests-installed peers ohif-for-tests
	@for script in $(BENCHES); do echo "== $$script"; $(BIN)/python $$script --write $(ARGS); done
	@$(BIN)/python tools/generate_docs.py >/dev/null  # the table of the README

docs: $(VENV)/.tests-installed
	$(BIN)/python tools/generate_docs.py
	$(BIN)/python -m pytest -q tests/docs

clean:
	rm -rf $(VENV) $(OHIF) .cache build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests bench tools fuzz -name __pycache__ -prune -exec rm -rf {} +

# --- the virtual environment ----------------------------------------------------------------------------------------

# Debian keeps ensurepip in python3-venv; without it `python3 -m venv` stops half way, so ask first.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Isocenter needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try make PYTHON=python3.12"; exit 1; }
	@if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv; \
		else echo "Python's venv module is missing. Run: sudo apt-get install python3-venv"; exit 1; fi; fi
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.installed: pyproject.toml | $(VENV)/.made
	$(PIP) install --editable .
	touch $@

$(VENV)/.tests-installed: pyproject.toml | $(VENV)/.made
	$(PIP) install --editable '.[test]'
	touch $@ $(VENV)/.installed

$(VENV)/.checks-installed: pyproject.toml | $(VENV)/.made
	$(PIP) install --editable '.[dev,test]'
	touch $@ $(VENV)/.tests-installed $(VENV)/.installed

peers:
	@tools/install_peers
