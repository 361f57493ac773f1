# The deploy rehearsal: what would be deployed, deployed to an emulated AWS and tried out.

# auto, docker or processes
ENGINE ?= auto

.PHONY: rehearse
rehearse: $(CDK_CLI) ## Deploy PROFILE= to an emulated AWS, prove that it works, destroy it (ENGINE=auto)
	@$(PY) -m rehearsal --profile $(PROFILE) --engine $(ENGINE) \
		$(addprefix --setting ,$(SETTINGS))

.PHONY: test-rehearsal
test-rehearsal: $(CDK_CLI) ## Show that the rehearsal catches what is broken on purpose (needs Docker)
	@$(PY) -m pytest -m "rehearsal or docker" tests/rehearsal
