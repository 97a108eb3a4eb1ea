# `make demo` and `make test` set up everything they need on a fresh machine.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint docs studies-check clean

demo: $(READY)
	$(BIN)/facedistill demo --out demo

test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist worksteal

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/python docs/generate.py --check

# Are the claims of every study those of its seeds' figures, and the pages those of the code?
studies-check: $(READY)
	$(BIN)/python -m studies.page --check
	$(BIN)/python docs/generate.py --check

docs: $(READY)
	$(BIN)/python docs/generate.py

# Every archive is compared with its hash. pip cannot hash the project itself, so it comes last and without
# its dependencies. A CUDA build of torch does not import without what constraints-cuda.txt names.
PIP := $(BIN)/pip --quiet --disable-pip-version-check

$(READY): pyproject.toml constraints.txt constraints-cuda.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --require-hashes --no-deps --requirement constraints.txt
	$(BIN)/python -c "import torch" 2> $(VENV)/torch.log || \
	  $(PIP) install --require-hashes --no-deps --requirement constraints-cuda.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	$(PIP) check
	touch $@

clean:
	rm -rf $(VENV) demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
