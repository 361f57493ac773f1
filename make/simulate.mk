# A model of AWS that compares scaling policies.

SIMULATION_SEED ?= 1

.PHONY: simulate
simulate: .venv/.synced ## Compare scaling policies in a model of AWS, update docs/scaling.md (SIMULATION_SEED=1)
	@$(PY) -m simulation --seed $(SIMULATION_SEED)
	@$(PY) -m docs.generator.scaling_figures
