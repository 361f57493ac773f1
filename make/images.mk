# The container images and what they install.

.PHONY: requirements
requirements: .venv/.synced ## Export the lock to the images' requirements
	@for service in api worker; do $(UV) export --frozen --quiet --no-default-groups \
		--no-emit-project --no-header --no-annotate --group $$service \
		--output-file services/$$service/requirements.txt; done

.PHONY: upgrade
upgrade: .venv/.synced ## Raise Python's packages, as far as pyproject.toml allows, and uv itself
	@$(UV) lock --upgrade
	@$(MAKE) --no-print-directory requirements
	@echo uv | $(UV) pip compile --quiet --upgrade --universal --generate-hashes --no-header \
		--no-annotate --output-file make/uv.txt -

.PHONY: test-images
test-images: .venv/.synced ## Build both images and run them locked down (needs Docker)
	@$(PY) -m pytest -m docker -s tests/cdk/test_built_images.py
