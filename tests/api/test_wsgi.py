"""The application as gunicorn loads it: what is built equals what is configured."""

import pytest

from services.api.wsgi import create_wsgi_app
from services.common.config import ApiConfig
from tests.conftest import Cloud
from tests.reachable import reachable_values

ORIGIN = "https://shop.example"
TESTED_BY_THEIR_EFFECT = {
    "api_host",
    "api_keys_refresh_s",
    "api_port",
    "api_processes",
    "api_request_timeout_s",
    "api_stop_timeout_s",
    "api_threads",
    "api_transfer_timeout_s",
    "aws_region",
    "log_format",
    "taskfleet_environment",
}
"""Settings of gunicorn, of a thread, of boto3 and of the log, which the application does not keep.
Tests of a running server cover them."""
ONLY_PUBLISHED = {"fetch_max_bytes", "imaging_max_pixels"}
"""``GET /limits`` tells them, and the worker enforces them."""


def test_the_application_is_built_with_the_value_of_every_setting(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ApiConfig.model_fields.keys() - TESTED_BY_THEIR_EFFECT - ONLY_PUBLISHED
    settings = {name: str(1_009 + number) for number, name in enumerate(sorted(names))}
    settings |= {
        "api_cors_origins": ORIGIN,
        "aws_region": "us-east-1",
        "aws_access_key_id": "test",
        "aws_secret_access_key": "test",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name.upper(), value)
    for name, value in cloud.resources.environment().items():
        monkeypatch.setenv(name, value)
    app = create_wsgi_app()
    built = reachable_values(
        app.config,
        app.view_functions,
        app.before_request_funcs,
        app.after_request_funcs,
        app.teardown_request_funcs,
    )

    config = ApiConfig()
    configured = {name: getattr(config, name) for name in names} | {"api_cors_origins": ORIGIN}
    assert {name for name, value in configured.items() if value not in built} == set()
