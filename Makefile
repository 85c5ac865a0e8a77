PYTHON ?= python3
MATRIX ?= quick
VENV := .venv

.PHONY: bench test lint clean

bench: $(VENV)/.installed
	$(VENV)/bin/python -m bench run --matrix $(MATRIX)

# Most tests keep one core busy, so two are run at a time, a file's in one process. What times has the machine alone.
test: $(VENV)/.installed-dev
	$(VENV)/bin/python -m pytest --numprocesses 2 --dist loadfile tests/bench tests/reports tests/techniques
	$(VENV)/bin/python -m pytest tests/performance tests/truth

lint: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.installed-dev: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --editable '.[dev]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
