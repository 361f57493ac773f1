# Container images and the Python packages that they install.

.PHONY: requirements
requirements: .venv/.synced ## Export the images' requirements from uv.lock
	@for service in api worker; do $(UV) export --frozen --quiet --only-group $$service \
		--no-header --no-annotate --output-file services/$$service/requirements.txt; done

.PHONY: upgrade
upgrade: .venv/.synced ## Upgrade uv, and the Python packages within the ranges of pyproject.toml
	@$(UV) lock --upgrade
	@$(MAKE) --no-print-directory requirements
	@echo uv | $(UV) pip compile --quiet --upgrade --universal --generate-hashes --no-header \
		--no-annotate --output-file make/uv.txt -

.PHONY: test-images
test-images: .venv/.synced ## Build and run the container images and the Python package (needs Docker)
	@$(PY) -m pytest -m "docker or packages" -s tests/cdk/test_built_images.py \
		tests/repository/test_packaging.py
