# Container images and the Python packages that they install.

.PHONY: requirements
requirements: .venv/.synced ## Export the requirements of the images and of the benchmark's peers
	@for service in api worker; do $(UV) export --frozen --quiet --only-group $$service \
		--no-header --no-annotate --output-file services/$$service/requirements.txt; done
	@$(COMPILE_PEERS)

# The peers of the benchmark use the libraries of the worker in the same versions.
COMPILE_PEERS := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --constraint services/worker/requirements.txt \
	--output-file bench/peers/requirements.txt bench/peers/requirements.in

BASE_TAG := public.ecr.aws/docker/library/python:3.13-slim-trixie

.PHONY: base-image
base-image: ## Pin the newest base image in the Dockerfiles (needs Docker)
	@docker pull --quiet $(BASE_TAG)
	@digest=$$(docker image inspect --format '{{index .RepoDigests 0}}' $(BASE_TAG) | cut -d@ -f2); \
		sed -i -E "s|^(ARG BASE_IMAGE=$(BASE_TAG))@.*|\1@$$digest|" services/*/Dockerfile

.PHONY: upgrade
upgrade: .venv/.synced ## Upgrade uv, and the Python packages within the ranges of pyproject.toml
	@$(UV) lock --upgrade
	@$(MAKE) --no-print-directory requirements
	@$(COMPILE_PEERS) --upgrade
	@echo uv | $(UV) pip compile --quiet --upgrade --universal --generate-hashes --no-header \
		--no-annotate --output-file make/uv.txt -

.PHONY: test-images
test-images: .venv/.synced ## Build and run the container images and the Python package (needs Docker)
	@$(PY) -m pytest -m "docker or packages" -s tests/cdk/test_built_images.py \
		tests/repository/test_packaging.py
