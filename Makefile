# Each target is a line or two of what you could type yourself. `make run` and `make test` need
# Python 3.11 or later with pip, and nothing else.
PYTHON ?= python3
BIN := .venv/bin
# Debian's Python makes no virtual environment with a pip in it, but its pip installs into one.
# Twice quiet: errors alone, and not what pip says of the settings that it has on this machine.
PIP = $(PYTHON) -m pip --python .venv --disable-pip-version-check install --quiet --quiet
LOCK = $(BIN)/uv pip compile pyproject.toml --quiet --universal --generate-hashes \
	--python-version 3.11 --no-header --no-annotate --no-emit-index-url --no-emit-find-links

# Where it is set, each process that the tests start compiles the code again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run install test test-fast drill faults fuzz check check-deploy bench bench-check screenshots docs format \
	translations lock migration help

run: install  ## Serve on 127.0.0.1:8000 with reload (PORT= moves it)
	@$(BIN)/app serve --migrate --reload

install: .venv/installed  ## .venv from the lock; does nothing when it is up to date

.venv/installed: requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.13")'
	@echo "Installing into .venv; this takes a minute or two."
	@$(PYTHON) -m venv --without-pip .venv
	@$(PIP) --require-hashes -r requirements/dev.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

test: install  ## On SQLite, and on PostgreSQL where TEST_POSTGRES_URL says
	@rm -rf .coverage
	TEST_COVERAGE=.coverage $(BIN)/pytest --numprocesses=3 -m "not slow"
	@$(BIN)/slipcover --merge .coverage/*.json --out .coverage/all.json \
		$(if $(TEST_POSTGRES_URL),,--fail-under=93) \
		|| (echo "Less than 93 % is covered."; exit 1)  # SQLite runs no code of the others

drill: install  ## Deletes parts of a copy, as docs/adding-a-resource.md says, and checks and tests the rest
	$(BIN)/python -m tests.drill

faults: install  ## The tests that take longer: hostile clients, locks, generated requests
	$(BIN)/pytest --numprocesses=2 -m slow

fuzz: install  ## Many requests that are generated from the OpenAPI document (FUZZ_CASES=)
	FUZZ_CASES=$(or $(FUZZ_CASES),500) $(BIN)/pytest -m slow tests/faults/test_fuzz.py

test-fast: install  ## The tests whose code has changed since the last time; not what a server's process runs
	@$(BIN)/pytest --testmon --testmon-forceselect --numprocesses=3 -m "not slow" \
		|| [ $$? = 5 ]  # there are none

check: install  ## Format, lint, types, contracts, migrations, lock
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/app db check
	@rm -rf .venv/lock && cp -r requirements .venv/lock
	@$(LOCK) --group build --group dev -o .venv/lock/dev.txt > /dev/null
	@$(LOCK) --group build -c requirements/dev.txt -o .venv/lock/app.txt > /dev/null
	diff -r requirements .venv/lock  # empty, or pyproject.toml has changed: make lock

check-deploy: install  ## The Kubernetes files against the schemas of Kubernetes
	$(BIN)/uv tool run --quiet --from kubernetes-validate==1.37.0 kubernetes-validate --strict \
		--quiet $(filter-out %/kustomization.yaml,$(wildcard deploy/kubernetes/*.yaml))

bench: install  ## Against the floors, on PostgreSQL; keeps the result: bench/README.md
	$(BIN)/python -m bench run --output bench/results

bench-check: install  ## Fails when a workload lost more than the noise since the result that is kept
	$(BIN)/python -m bench check

screenshots: install  ## docs/*.png, with Chromium
	$(BIN)/python -m tests.e2e.screenshots

docs: install  ## docs/configuration.md, from the settings class and .env.example
	$(BIN)/python -m docs.configuration

translations: install  ## app/translations, from the texts in the source (LANGUAGE= adds one)
	$(BIN)/python -m app.translations.catalogs $(LANGUAGE)

format: install  ## Formats, and mends what ruff can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format --quiet .

lock: install  ## The newest releases that pyproject.toml allows
	@$(LOCK) --upgrade --group build --group dev -o requirements/dev.txt > /dev/null
	@$(LOCK) --upgrade --group build -c requirements/dev.txt -o requirements/app.txt > /dev/null

migration: install  ## make migration m="what it does"
	$(BIN)/app db upgrade
	$(BIN)/alembic revision --autogenerate -m "$(m)"
	@$(BIN)/ruff check --fix --quiet alembic
	@$(BIN)/ruff format --quiet alembic

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' Makefile
