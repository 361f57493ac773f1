"""The text that `make run` prints when the system is ready, with commands to copy."""

import shlex
from urllib.parse import quote

from local.aws_resources import Resources
from local.embedded_aws import REGION
from local.ports import HOST


def banner(*, port: int, key: str, image: str, aws_endpoint_url: str, resources: Resources) -> str:
    api, samples = f"http://{HOST}:{port}", f"http://{HOST}:{port + 1}"
    body = f'{{"inputImageUrl": "{samples}/{quote(image)}"}}'
    authorization = f"-H 'Authorization: Bearer {key}'"
    return f"""
Taskfleet is ready.

  API      {api}  (documentation: {api}/docs)
  samples  {samples}
  key      {key}

Submit an image. The response contains a taskId:

  curl -sS {authorization} -H 'Content-Type: application/json' -d {shlex.quote(body)} {api}/tasks

Get the task. When its status is COMPLETED, open its resultUrl to see the grayscale image:

  curl -sS {authorization} {api}/tasks/TASK_ID

Create another API key:

  AWS_ENDPOINT_URL={aws_endpoint_url} AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local \\
    .venv/bin/python -m taskctl keys create --client me --region {REGION} \\
    --secret-id {resources.api_keys_secret_id} --api-url {api}

Ctrl-C stops everything.
"""
