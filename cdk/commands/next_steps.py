"""Print the next steps after a deployment.

``python -m cdk.commands.next_steps OUTPUTS_FILE ENVIRONMENT``
"""

import json
import shlex
import sys
from pathlib import Path

SAMPLE = "https://www.python.org/static/img/python-logo.png"
"""An image that is likely to stay online."""


NAME_MISSING = """
The certificate cannot name this host. Point the certificate's name at it, and use that name below.
"""


def next_steps(*, url: str, environment: str, unverifiable: bool = False) -> str:
    """`unverifiable` says that no certificate can name the host in `url`."""
    body = shlex.quote(json.dumps({"inputImageUrl": SAMPLE}))
    return f"""
{environment} is deployed: {url}
{NAME_MISSING if unverifiable else ""}
Create the first API key. It is shown only once:

  .venv/bin/python -m taskctl keys create --client me --environment {environment}

The API accepts it within a minute. Submit an image:

  curl -sS {url}/tasks -H "Authorization: Bearer KEY" -H 'Content-Type: application/json' -d {body}
"""


def main() -> None:
    outputs_file, environment = sys.argv[1:]
    outputs = json.loads(Path(outputs_file).read_text())
    api = outputs[f"taskfleet-{environment}-api"]
    url = api["Url"]
    unverifiable = url.startswith("https:") and "DomainName" not in api
    sys.stdout.write(next_steps(url=url, environment=environment, unverifiable=unverifiable))


if __name__ == "__main__":
    main()
