# A check of the proof itself.

.PHONY: mutants
mutants: .venv/.synced ## Break each promise on purpose: a test must notice, or this fails
	@$(PY) -m tests.mutants
