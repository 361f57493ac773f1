# Proofs of the reliability promises that take longer than the fast suite.

.PHONY: model
model: .venv/.synced ## Run the model test 2,000 times with random failures
	@$(PY) -m pytest tests/model/test_model.py --hypothesis-profile=nightly

.PHONY: mutants
mutants: .venv/.synced ## Break one promise at a time and check that a test fails (EVERY=1)
	@$(PY) -m tests.mutants --every $(or $(EVERY),1)
