# The benchmark, and the environments that it needs beside the project's own.

.PHONY: bench
bench: .venv/.synced ## Compare with Celery and Dramatiq under load (QUICK=1: check for regressions only)
ifdef QUICK
	@$(PY) -m bench gate
else
	@$(MAKE) --no-print-directory .local/peers/.synced .local/plots/.synced
	@$(PY) -m bench
	@.local/plots/bin/python -m bench.plots
	@$(PY) -m docs.generator.performance_figures
endif

.local/peers/.synced: bench/peers/requirements.txt | $(UV)
	@$(UV) venv --quiet --clear --python $(PYTHON) .local/peers
	@$(UV) pip sync --quiet --python .local/peers/bin/python --require-hashes $<
	@touch $@

.local/plots/.synced: uv.lock | $(UV)
	@UV_PROJECT_ENVIRONMENT=.local/plots $(UV) sync --quiet --frozen --only-group plots --python $(PYTHON)
	@touch $@
