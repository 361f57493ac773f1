# Tests on DynamoDB Local, ElasticMQ and S3Proxy instead of AWS. They need Maven and a JDK 17.

MVN ?= mvn
ENGINES := dynamodb sqs s3
TASKS ?= 300
DRAINS ?= 100
SOAK_OPTIONS = $(SOAK_SEED:%=--seed %) $(RESULTS:%=--results %)

.PHONY: engines
engines: $(ENGINES:%=.local/engines/%.classpath)

.local/engines/%.classpath: testbed/engines/pom.xml
	@{ command -v $(MVN) && command -v java; } >/dev/null \
		|| { echo "The engines need Maven and a JDK 17 (Debian: apt install maven openjdk-17-jdk-headless)" >&2; exit 1; }
	@mkdir -p $(@D)
	@$(MVN) -q -B -Dstyle.color=never -f $< -P $* dependency:build-classpath -Dmdep.outputFile=$(abspath $@)

.PHONY: test-engines
test-engines: .venv/.synced engines ## Run the flow suite on DynamoDB Local, ElasticMQ and S3Proxy
	@$(PY) -m pytest -m engines tests/flow

.PHONY: soak
soak: .venv/.synced engines ## Run tasks while processes and AWS calls fail (TASKS=300, SOAK_SEED=, RESULTS=file)
	@$(PY) -m tests.soak --tasks $(TASKS) $(SOAK_OPTIONS)

.PHONY: drain
drain: .venv/.synced engines ## Stop workers under load with SIGTERM (DRAINS=100, SOAK_SEED=, RESULTS=file)
	@$(PY) -m tests.soak.drain --drains $(DRAINS) $(SOAK_OPTIONS)
