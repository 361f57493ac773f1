"""The Python client of the Taskfleet API. It depends on urllib3 alone."""

from taskfleet.api_client import ApiClient, Response, is_final

__all__ = ["ApiClient", "Response", "is_final"]
