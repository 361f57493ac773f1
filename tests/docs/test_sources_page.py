"""docs/sources.md agrees with the code."""

import re

from docs.generator.imports import ROOT
from services.common.config import WorkerConfig
from services.common.errors import SourceError
from services.common.source_url import MAX_LENGTH
from services.common.version import PROJECT_PAGE, VERSION

PAGE = (ROOT / "docs/sources.md").read_text()


def test_every_failure_of_a_source_is_explained_with_whether_it_is_retried() -> None:
    rows = dict(re.findall(r"^\| `(source_\w+)` \|.*\| (yes|no) \|$", PAGE, re.MULTILINE))
    failures = SourceError.__subclasses__()

    assert rows == {error.code: "yes" if error.retryable else "no" for error in failures}


def test_the_limits_are_those_of_the_worker() -> None:
    fields = WorkerConfig.model_fields

    assert f"up to {MAX_LENGTH:,} characters" in PAGE
    assert f"up to {fields['fetch_max_bytes'].default // 10**6} MB" in PAGE
    assert f"within {fields['fetch_timeout_s'].default} s" in PAGE
    assert fields["fetch_max_redirects"].default == 3
    assert f"User-Agent: Taskfleet/{VERSION} (+{PROJECT_PAGE})" in PAGE
