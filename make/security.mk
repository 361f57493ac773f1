# Attacks on the services, and the contents of the images.

WRAPPED ?= 1000
EXAMPLES ?= 400
SBOM_FOLDER ?= .local/sbom

.PHONY: security
security: .venv/.synced ## Attack the services, update docs/security.md (IMAGES=, EXAMPLES=, WRAPPED=, SEED=)
	@$(PY) -m tests.security --wrapped $(WRAPPED) --images $(IMAGES) --examples $(EXAMPLES) \
		$(SEED:%=--seed %) --results tests/results/security.json
	@$(PY) -m docs.generator.security_figures

.PHONY: sbom
sbom: .venv/.synced ## Write a software bill of materials (CycloneDX) for each image (SBOM_FOLDER=)
	@mkdir -p $(SBOM_FOLDER)
	@for service in api worker; do $(UV) export --frozen --quiet --only-group $$service \
		--format cyclonedx1.5 --output-file $(SBOM_FOLDER)/$$service.cdx.json > /dev/null; done

.PHONY: audit
audit: .venv/.synced ## Check the images' packages for known vulnerabilities (uses PyPI)
	@for service in api worker; do $(PY) -m pip_audit --strict --disable-pip --require-hashes \
		--requirement services/$$service/requirements.txt || exit 1; done
