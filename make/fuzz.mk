PICTURES ?= 20000
SEED ?= 1

.PHONY: fuzz
fuzz: .venv/.synced ## Damaged pictures and bombs through the imaging pool (PICTURES=, SEED=)
	@$(PY) -m tests.fuzz.imaging --pictures $(PICTURES) --seed $(SEED) --keep .local/fuzz
