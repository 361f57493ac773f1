"""The results bucket. A key contains the attempt, so a late attempt cannot overwrite the winner."""

from typing import TYPE_CHECKING

from services.common.aws import wrap_errors
from services.common.errors import BucketUnavailable
from services.common.task import Task

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

PRESIGNED_URL_TTL_S = 600
"""Lifetime of a presigned URL. A client asks for a new one at any time."""

EXTENSIONS = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "image/gif": "gif",
    "image/avif": "avif",
    "image/tiff": "tif",
    "image/bmp": "bmp",
}


def result_key(claim: Task, content_type: str) -> str:
    return f"results/{claim.task_id}/{claim.attempt}.{EXTENSIONS[content_type]}"


class ResultBucket:
    """Stores results and presigns their URLs. Every method raises ``BucketUnavailable``."""

    def __init__(self, client: "S3Client", *, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def put(self, key: str, body: bytes, *, content_type: str) -> None:
        with wrap_errors(BucketUnavailable):
            self._client.put_object(
                Bucket=self._bucket, Key=key, Body=body, ContentType=content_type
            )

    def delete(self, key: str) -> None:
        """Delete a result. It is no error if there is none."""
        with wrap_errors(BucketUnavailable):
            self._client.delete_object(Bucket=self._bucket, Key=key)

    def presign(self, key: str, *, content_type: str) -> str:
        """A URL that serves the result for `PRESIGNED_URL_TTL_S`.

        It fixes the content type and sends the file as an attachment, so that a browser never
        renders a result as a page.
        """
        name = key.removeprefix("results/").replace("/", "-")
        with wrap_errors(BucketUnavailable):
            return self._client.generate_presigned_url(
                "get_object",
                Params={
                    "Bucket": self._bucket,
                    "Key": key,
                    "ResponseContentType": content_type,
                    "ResponseContentDisposition": f'attachment; filename="{name}"',
                },
                ExpiresIn=PRESIGNED_URL_TTL_S,
            )
