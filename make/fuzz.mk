IMAGES ?= 20000

.PHONY: fuzz
fuzz: .venv/.synced ## Process damaged images and decompression bombs in the imaging pool (IMAGES=, SEED=)
	@$(PY) -m tests.fuzz.imaging --images $(IMAGES) $(SEED:%=--seed %) --keep .local/fuzz
