IMAGES ?= 20000

.PHONY: fuzz
fuzz: .venv/.synced ## Damaged images and bombs through the imaging pool (IMAGES=, SEED=)
	@$(PY) -m tests.fuzz.imaging --images $(IMAGES) $(SEED:%=--seed %) --keep .local/fuzz
