# Each target makes its own virtual environment from a python3 alone, the first time; PYTHON names another.
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check bench docs clean

$(VENV)/.run: pyproject.toml constraints.txt
	@scripts/venv $(VENV) local,asyncpg
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	@scripts/venv $(VENV) dev
	@touch $(VENV)/.run $@

$(VENV)/.bench: pyproject.toml constraints.txt
	@scripts/venv $(VENV) dev,bench
	@touch $(VENV)/.run $(VENV)/.dev $@

demo: $(VENV)/.run
	$(BIN)/tenantry demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks $(ARGS)

docs: $(VENV)/.dev
	$(BIN)/python -m docs.build
	$(BIN)/python -m benchmarks --render
	$(BIN)/python -m pytest tests/docs

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .import_linter_cache .hypothesis
