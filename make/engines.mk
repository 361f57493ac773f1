# Real engines instead of AWS: what runs on them. They need Java 17 (a JDK) and Maven.

MVN ?= mvn
ENGINES := dynamodb sqs s3
TASKS ?= 300
DRAINS ?= 100

.PHONY: engines
engines: $(ENGINES:%=.local/engines/%.classpath)

.local/engines/%.classpath: local/engines/pom.xml
	@command -v $(MVN) java >/dev/null \
		|| { echo "The engines need Maven and a JDK 17 (Debian: apt install maven openjdk-17-jdk-headless)" >&2; exit 1; }
	@mkdir -p $(@D)
	@$(MVN) -q -B -Dstyle.color=never -f $< -P $* dependency:build-classpath -Dmdep.outputFile=$(abspath $@)

.PHONY: test-engines
test-engines: .venv/.synced engines ## The flow suite on DynamoDB Local, ElasticMQ and an S3 server
	@$(PY) -m pytest -m engines tests/flow

.PHONY: soak
soak: .venv/.synced engines ## Load under faults on those engines; figures in the last line (TASKS=300, SEED=, RESULTS=file)
	@$(PY) -m bench.soak --tasks $(TASKS) $(SEED:%=--seed %) $(RESULTS:%=--results %)

.PHONY: drain
drain: .venv/.synced engines ## SIGTERM under load, DRAINS=100 times: no message may be stranded
	@$(PY) -m bench.drain --drains $(DRAINS) $(SEED:%=--seed %) $(RESULTS:%=--results %)
