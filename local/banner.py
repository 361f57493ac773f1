"""What `make run` prints when everything is ready: lines to paste."""

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

  API      {api}  (try it in the browser: {api}/docs)
  samples  {samples}
  key      {key}

Submit an image; the answer has a taskId:

  curl -sS {authorization} -H 'Content-Type: application/json' -d {shlex.quote(body)} {api}/tasks

See how it is doing; when COMPLETED, resultUrl opens the gray image:

  curl -sS {authorization} {api}/tasks/TASK_ID

Another key:

  AWS_ENDPOINT_URL={aws_endpoint_url} AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local \\
    .venv/bin/python -m taskctl keys create --client me --region {REGION} \\
    --secret-id {resources.api_keys_secret_id} --api-url {api}

Ctrl-C stops everything.
"""
