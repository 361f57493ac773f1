# Targets install what they need inside the project folder.

PYTHON ?= python3
PY := .venv/bin/python
UV := .tools/bin/uv
export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := .venv

PARALLEL := -n 4 --dist loadgroup
# Coverage counts only these: a test of the whole system runs many lines without checking their
# effect.
UNIT_TESTS := tests/common tests/api tests/worker

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

include $(wildcard make/*.mk)

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | sort -u \
		| awk -F ':.*## ' '{ printf "  make %-14s %s\n", $$1, $$2 }'

# pip installs uv, and uv installs everything else. Both verify hashes: make/uv.txt and uv.lock.
$(UV): make/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Taskfleet needs Python 3.11 or newer. To use another interpreter: make PYTHON=python3.x" >&2; exit 1; }
	@$(PYTHON) -m venv .tools \
		|| { echo "Python has no venv module. On Debian: apt install python3-venv" >&2; exit 1; }
	@.tools/bin/python -m pip install --quiet --disable-pip-version-check \
		--require-hashes --requirement make/uv.txt
	@touch $@

.venv/.synced: pyproject.toml uv.lock | $(UV)
	@$(UV) sync --quiet --frozen --extra cli --python $(PYTHON)
	@touch $@

.PHONY: run
run: .venv/.synced ## Start the whole system on this machine (PORT=8080, SAMPLES=folder)
	@$(PY) -m local.run

.PHONY: test
test: .venv/.synced lint types ## Run lint, type checks and the fast test suite
	@status=0; \
		$(PY) -m pytest $(PARALLEL) $(UNIT_TESTS) --cov --cov-report=term --cov-fail-under=90 || status=1; \
		$(PY) -m pytest $(PARALLEL) $(addprefix --ignore=,$(UNIT_TESTS)) || status=1; \
		exit $$status

.PHONY: lint
lint: .venv/.synced ## Run the linter and check the formatting
	@$(PY) -m ruff check
	@$(PY) -m ruff format --check

.PHONY: types
types: .venv/.synced ## Check types with mypy
	@$(PY) -m mypy

.PHONY: format
format: .venv/.synced ## Fix lint errors and format the code
	@$(PY) -m ruff check --fix
	@$(PY) -m ruff format

.PHONY: clean
clean: ## Delete everything that the targets created
	rm -rf .venv .tools .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis .local cdk.out \
		cdk/cli/node_modules
