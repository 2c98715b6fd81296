# All set-up happens in .venv; any Python 3.11 or later will do: make test PYTHON=python3.12
PYTHON ?= python3
# Test processes; each computes on one thread.
WORKERS ?= 2
# Further arguments for pytest or the demo: make test ARGS='-m "not slow" tests/lora'
ARGS ?=

BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: help setup test lint format demo bench bench-gpu clean distclean

help:
	@echo "make test    set up .venv if needed, then run every test"
	@echo "make lint    ruff, mypy and the import contracts"
	@echo "make format  let ruff mend what it can"
	@echo "make demo    offline: hide topics in a few small finetunes, have the adapter name them"
	@echo "make bench   measure every stage against what a user would run instead (make bench-gpu: on CUDA)"
	@echo "make clean   remove caches and builds (make distclean: .venv too)"

setup: $(STAMP)

# One pip command, so that the bound on torch holds for every package that asks for torch.
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("diffspeak needs Python 3.11 or later; set PYTHON=...") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

demo: $(STAMP)
	$(BIN)/diffspeak demo $(ARGS)

bench: $(STAMP)
	$(BIN)/python -m benchmarks $(ARGS)

bench-gpu: $(STAMP)
	$(BIN)/python -m benchmarks --device cuda --page docs/results/speed-gpu.md $(ARGS)

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests examples benchmarks -type d -name __pycache__ -prune -exec rm -rf {} +

distclean: clean
	rm -rf .venv
