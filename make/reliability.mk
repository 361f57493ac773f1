# What looks longer at the promises than the fast suite can.

.PHONY: model
model: .venv/.synced ## Let anything happen at any call, 2,000 times over, differently each time
	@$(PY) -m pytest tests/model/test_model.py --hypothesis-profile=nightly

.PHONY: mutants
mutants: .venv/.synced ## Break each promise on purpose: a test must notice, or this fails
	@$(PY) -m tests.mutants
