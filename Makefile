# What people and CI run. `make check` is everything; CI calls it through .ci/run.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.NOTPARALLEL:
.PHONY: check test tools format lint types contracts tutorial wheel constraints bench

BIN := .venv/bin
# The first code block under the README's heading "Run the tests": what it promises is what is run.
README_TEST := awk '!code && /^\#/ {here = /^\#+ Run the tests/} \
	here && /^```/ {if (code) exit; code = 1; next} code' README.md

check: test lint types contracts tutorial wheel
	@echo "make check: all passed"

test: # exactly the README's test command
	@command=$$($(README_TEST)); test -n "$$command" || { echo "README.md: no tests to run" >&2; exit 1; }; \
	echo "$$command"; $(SHELL) -euo pipefail -c "$$command"

tools:
	@test -x $(BIN)/python || python3 -m venv .venv
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'

format: tools
	$(BIN)/ruff check --fix --exit-zero --quiet
	$(BIN)/ruff format

lint: tools
	$(BIN)/ruff format --check
	$(BIN)/ruff check

types: tools
	$(BIN)/mypy

contracts: tools
	$(BIN)/lint-imports

tutorial: tools # every notebook executed, none with a warning; pages and notebooks in build/tutorial
	$(BIN)/python scripts/tutorial.py

wheel: tools # the built wheel, alone with its core dependencies, steps an optimizer
	rm -rf build/dist build/alone
	$(BIN)/python -m build --no-isolation --outdir build/dist .
	python3 -m venv build/alone
	build/alone/bin/pip install --quiet -c constraints.txt build/dist/*.whl
	build/alone/bin/python -I scripts/check_wheel.py

constraints: # the newest releases that go with the torch already pinned
	rm -rf build/pins
	python3 -m venv build/pins
	build/pins/bin/pip install "$$(grep '^torch==' constraints.txt)" -e '.[dev]'
	build/pins/bin/pip freeze --exclude thalweg | sed 's/+[^ ]*$$//' > build/pins/freeze
	sed -i '/^#/!d' constraints.txt
	cat build/pins/freeze >> constraints.txt

bench: tools
	$(BIN)/thalweg bench
