# The parts of the documentation that are generated from the code.

.PHONY: docs
docs: .venv/.synced ## Regenerate the drawings and tables of the documentation
	@JSII_NODE=$(NODE)/bin/node $(PY) -m docs.generator
