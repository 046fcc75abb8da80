# Each target is a line or two of what you could type yourself. `make run` and `make test` need
# Python 3.11 or later, and nothing else.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run install test check format lock migration

run: install  ## Serve on 127.0.0.1:8000 with reload (PORT= moves it)
	@$(BIN)/app serve --migrate --reload

install: .venv/installed  ## .venv from the lock; does nothing when it is up to date

.venv/installed: requirements/dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.13")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

test: install  ## On SQLite, and on PostgreSQL where TEST_POSTGRES_URL says
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest
	@$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/app db check
	$(BIN)/python requirements/lock.py --check

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: install  ## The newest releases that pyproject.toml allows
	$(BIN)/python requirements/lock.py

migration: install  ## make migration m="what it does"
	$(BIN)/app db upgrade
	$(BIN)/alembic revision --autogenerate -m "$(m)"
