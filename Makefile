# make demo   set up, then watch a robot learn its world
# make test   set up, then run the tests

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# two test files at a time: much of a test is waiting (ARGS="-n 0 --pdb" to debug)
TWO := -n 2 --dist loadfile

# the first Python of at least 3.12 among the usual names
PYTHON := $(shell for p in python3.12 python3 python3.13 python3.14 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null && command -v $$p && break; done)
CV_VERSION = $(shell sed -n 's/^opencv-python==//p' constraints.txt)

.PHONY: demo test test-all bench lint format docs clean

demo: $(VENV)/.demo
	$(BIN)/toddle launch launch/online.yaml --set spec="{target: delta}" --name demo --overwrite $(ARGS)

test: $(VENV)/.test
	$(BIN)/python -m pytest $(TWO) -m "not slow" $(ARGS)

test-all: $(VENV)/.test
	$(BIN)/python -m pytest $(TWO) $(ARGS)

bench: $(VENV)/.bench
	$(BIN)/python -m bench $(ARGS)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.test
	$(BIN)/toddle launch launch/online.yaml --write-schemas docs

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "toddle needs Python 3.12 or newer: install it (Debian: apt-get install python3.12-venv; or pyenv install 3.12) and run make again"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments: install its venv package (Debian: apt-get install python3-venv) and run make again"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# what learning and looking need
$(VENV)/.demo: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,viewer]'
	touch $@

# what the benchmarks compare with, beside everything
$(VENV)/.bench: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	touch $@

# everything; OpenCV with windows last, because lerobot brings the build without
$(VENV)/.test: $(VENV)/bin/python pyproject.toml constraints.txt lerobot_policy_toddle/pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all]' -e ./lerobot_policy_toddle
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps opencv-python==$(CV_VERSION)
	touch $(VENV)/.demo $@
