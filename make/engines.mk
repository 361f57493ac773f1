# Real engines instead of AWS: what runs on them. They need Java 17 (a JDK) and Maven.

MVN ?= mvn
ENGINES := dynamodb sqs s3
TASKS ?= 300
DRAINS ?= 100
PROOF = $(SOAK_SEED:%=--seed %) $(RESULTS:%=--results %)

.PHONY: engines
engines: $(ENGINES:%=.local/engines/%.classpath)

.local/engines/%.classpath: testbed/engines/pom.xml
	@{ command -v $(MVN) && command -v java; } >/dev/null \
		|| { echo "The engines need Maven and a JDK 17 (Debian: apt install maven openjdk-17-jdk-headless)" >&2; exit 1; }
	@mkdir -p $(@D)
	@$(MVN) -q -B -Dstyle.color=never -f $< -P $* dependency:build-classpath -Dmdep.outputFile=$(abspath $@)

.PHONY: test-engines
test-engines: .venv/.synced engines ## The flow suite on DynamoDB Local, ElasticMQ and an S3 server
	@$(PY) -m pytest -m engines tests/flow

.PHONY: soak
soak: .venv/.synced engines ## Load while everything fails, on those engines (TASKS=300, SOAK_SEED=, RESULTS=file)
	@$(PY) -m tests.soak --tasks $(TASKS) $(PROOF)

.PHONY: drain
drain: .venv/.synced engines ## SIGTERM under load, on those engines (DRAINS=100, SOAK_SEED=, RESULTS=file)
	@$(PY) -m tests.soak.drain --drains $(DRAINS) $(PROOF)
