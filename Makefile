# All set-up happens in .venv; any Python 3.11 or later will do: make test PYTHON=python3.12
PYTHON ?= python3
# Test processes; each computes on one thread.
WORKERS ?= 2
# Further arguments for pytest, the demo or uv: make test ARGS='-m "not slow" tests/lora'
ARGS ?=
# Chooses versions for `make lock`, `make newest` and `make oldest`; nothing else needs it.
UV := 0.13.9

BIN := .venv/bin
TOOLS := .venv-tools
# What is installed in .venv: the package alone, or all that developing takes.
DEMO := .venv/.ready-for-demo
DEV := .venv/.ready-for-development
# Leaves out what torch needs for CUDA (torch itself pins it exactly, and torch for a CPU has no use
# for it), and the marker that every line of requirements.txt would have.
TRIM := sed -E -e '/^(cuda|nvidia|triton)/d' -e "s/ ; python_full_version < '3.14' and \(sys_platform == 'darwin' or sys_platform == 'linux'\)$$//"

.PHONY: help setup test lint format demo bench bench-gpu bench-downloads lock newest oldest clean distclean always
# Two targets that install at the same time would be in each other's way.
.NOTPARALLEL:

help:
	@echo "make test    set up .venv if needed, then run every test"
	@echo "make lint    ruff, mypy and the import contracts"
	@echo "make format  let ruff mend what it can"
	@echo "make demo    offline: hide topics in a few small finetunes, have the adapter name them"
	@echo "make bench   measure every stage against what a user would run instead (make bench-gpu: on CUDA)"
	@echo "make bench-downloads  what make demo downloads (and how long it takes: ARGS=--timed)"
	@echo "make lock    choose the versions in requirements.txt (newer ones: make lock ARGS=--upgrade)"
	@echo "make newest  run every test with the newest releases that pyproject.toml allows"
	@echo "make oldest  run every test with the oldest"
	@echo "make clean   remove caches and builds (make distclean: environments too)"

# $(call install,ENVIRONMENT,VERSIONS,EXTRAS): exactly the versions of a file. The target marks that
# an environment is whole; one without a mark was left half-made, and is begun anew. Without build
# isolation, the tools that build the project have exact versions as well.
define install
	@$(PYTHON) -c 'import sys; sys.exit("diffspeak needs Python 3.11 or later; set PYTHON=...") if sys.version_info < (3, 11) else None'
	@test -x $(1)/bin/python && ls $(1)/.ready-* >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(1)
	@rm -f $(1)/.ready-*
	$(1)/bin/python -m pip install --quiet --disable-pip-version-check -c $(2) editables hatchling
	$(1)/bin/python -m pip install --quiet --disable-pip-version-check -c $(2) --no-build-isolation -e '.$(3)'
	@touch $@
endef

setup: $(DEV)

$(DEV): requirements.txt pyproject.toml
	$(call install,.venv,requirements.txt,[dev])

$(DEMO): requirements.txt pyproject.toml
	$(call install,.venv,requirements.txt)

test: $(DEV)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# An environment for development has all that the demo needs.
demo: $(if $(wildcard $(DEV)),$(DEV),$(DEMO))
	$(BIN)/diffspeak demo $(ARGS)

bench: $(DEV)
	$(BIN)/python -m benchmarks $(ARGS)

bench-gpu: $(DEV)
	$(BIN)/python -m benchmarks --device cuda --page docs/results/speed-gpu.md $(ARGS)

bench-downloads: $(DEV) $(TOOLS)/.uv-$(UV)
	$(BIN)/python -m benchmarks.downloads --uv $(TOOLS)/bin/uv $(ARGS)

$(TOOLS)/.uv-$(UV):
	$(PYTHON) -m venv --clear $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV)
	@touch $@

# Versions that are locked already stay, unless they no longer fit or are to be newer.
lock: $(TOOLS)/.uv-$(UV)
	cp requirements.txt $(TOOLS)/locked.txt
	$(TOOLS)/bin/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
	  --no-annotate --custom-compile-command 'make lock' --extra dev $(ARGS) \
	  pyproject.toml -o $(TOOLS)/locked.txt
	$(TRIM) $(TOOLS)/locked.txt > $(TOOLS)/requirements.txt
	mv $(TOOLS)/requirements.txt requirements.txt

newest: RESOLUTION := highest
oldest: RESOLUTION := lowest-direct
newest oldest: %: .venv-%/.ready-for-tests
	OMP_NUM_THREADS=1 .venv-$@/bin/python -m tests.compatibility $@ --workers $(WORKERS) $(ARGS)

.venv-%/.ready-for-tests: $(TOOLS)/%.txt pyproject.toml
	$(call install,.venv-$*,$<,[dev])

.PRECIOUS: $(TOOLS)/%.txt
# Chosen anew each time; a file that is the same stays as old as it is.
$(TOOLS)/%.txt: $(TOOLS)/.uv-$(UV) always
	$(TOOLS)/bin/uv pip compile --quiet --upgrade --python $(TOOLS)/bin/python \
	  --resolution $(RESOLUTION) --only-binary :all: --no-annotate --no-header --extra dev pyproject.toml > $@.all
	$(TRIM) $@.all > $@.new
	cmp -s $@.new $@ || mv $@.new $@

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests recipes examples benchmarks -type d -name __pycache__ -prune -exec rm -rf {} +

distclean: clean
	rm -rf .venv .venv-newest .venv-oldest $(TOOLS)
