# Deploys to an emulated AWS, without an account.

# auto, docker or processes
ENGINE ?= auto

.PHONY: rehearse
rehearse: $(CDK_CLI) ## Deploy PROFILE= to an emulated AWS, test it as a client, destroy it (ENGINE=auto)
	@$(PY) -m rehearsal --profile $(PROFILE) --engine $(ENGINE) \
		$(addprefix --setting ,$(SETTINGS))

.PHONY: test-rehearsal
test-rehearsal: $(CDK_CLI) ## Check that the rehearsal reports defects in a deployment (needs Docker)
	@$(PY) -m pytest -m "rehearsal or docker" tests/rehearsal
