"""The Python client of the Taskfleet API. It depends on urllib3 alone."""

from taskfleet.api_client import ApiClient, Response, Task, is_final

__all__ = ["ApiClient", "Response", "Task", "is_final"]
