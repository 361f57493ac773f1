"""Print the next steps after a deployment.

``python -m cdk.commands.next_steps OUTPUTS_FILE ENVIRONMENT``
"""

import json
import shlex
import sys
from pathlib import Path

SAMPLE = "https://www.python.org/static/img/python-logo.png"
"""An image that is likely to stay online."""


def next_steps(*, url: str, environment: str) -> str:
    body = shlex.quote(json.dumps({"inputImageUrl": SAMPLE}))
    return f"""
{environment} is deployed: {url}

Create the first API key. It is shown only once:

  .venv/bin/python -m taskctl keys create --client me --environment {environment}

The API accepts it within a minute. Submit an image:

  curl -sS {url}/tasks -H "Authorization: Bearer KEY" -H 'Content-Type: application/json' -d {body}
"""


def main() -> None:
    outputs_file, environment = sys.argv[1:]
    outputs = json.loads(Path(outputs_file).read_text())
    url = outputs[f"taskfleet-{environment}-api"]["Url"]
    sys.stdout.write(next_steps(url=url, environment=environment))


if __name__ == "__main__":
    main()
