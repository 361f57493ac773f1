# Everything a user or developer does. All set-up happens inside the project folder.

PYTHON ?= python3
PY := .venv/bin/python
UV := .tools/bin/uv
export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := .venv

PARALLEL := -n 4 --dist loadgroup
# Coverage counts these alone: a test of the whole system passes by many lines without looking at
# what they do.
TESTS_OF_PARTS := tests/common tests/api tests/worker

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

include $(wildcard make/*.mk)

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | sort -u \
		| awk -F ':.*## ' '{ printf "  make %-14s %s\n", $$1, $$2 }'

# uv installs everything else by the hashes of uv.lock, and is itself installed by its own.
$(UV): make/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Taskfleet needs Python 3.11 or newer; choose one with PYTHON=python3.x" >&2; exit 1; }
	@$(PYTHON) -m venv .tools \
		|| { echo "Python's venv module is missing (Debian: apt install python3-venv)" >&2; exit 1; }
	@.tools/bin/python -m pip install --quiet --disable-pip-version-check \
		--require-hashes --requirement make/uv.txt
	@touch $@

.venv/.synced: pyproject.toml uv.lock | $(UV)
	@$(UV) sync --quiet --frozen --python $(PYTHON)
	@touch $@

.PHONY: run
run: .venv/.synced ## Start the whole system on this machine (PORT=8080, SAMPLES=folder)
	@$(PY) -m local.run

.PHONY: test
test: .venv/.synced lint types ## Lint, types and the fast suite
	@$(PY) -m pytest $(PARALLEL) $(TESTS_OF_PARTS) --cov --cov-report=term --cov-fail-under=90
	@$(PY) -m pytest $(PARALLEL) $(addprefix --ignore=,$(TESTS_OF_PARTS))

.PHONY: lint
lint: .venv/.synced ## Lint and check the format
	@$(PY) -m ruff check
	@$(PY) -m ruff format --check

.PHONY: types
types: .venv/.synced ## Check the types
	@$(PY) -m mypy

.PHONY: format
format: .venv/.synced ## Mend lint and format where that is possible
	@$(PY) -m ruff check --fix
	@$(PY) -m ruff format

.PHONY: bench
bench: .venv/.synced ## Measure CPU per task and per submit beside a bare loop
	@$(PY) -m bench

.PHONY: clean
clean: ## Remove everything that the targets made
	rm -rf .venv .tools .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis .local cdk.out \
		cdk/cli/node_modules
