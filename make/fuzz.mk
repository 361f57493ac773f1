PICTURES ?= 20000

.PHONY: fuzz
fuzz: .venv/.synced ## Damaged pictures and bombs through the imaging pool (PICTURES=, SEED=)
	@$(PY) -m tests.fuzz.imaging --pictures $(PICTURES) $(SEED:%=--seed %) --keep .local/fuzz
