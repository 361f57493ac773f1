# The parts of the documentation that are made from the code.

.PHONY: docs
docs: .venv/.synced ## Make the drawings and tables of the documentation anew
	@JSII_NODE=$(NODE)/bin/node $(PY) -m docs.generator
