"""The limits of an attempt, from the settings."""

from datetime import timedelta

from services.common.config import WorkerConfig
from services.common.task import Backoff
from services.worker.fetching.fetcher import FetchPolicy
from services.worker.imaging import ImagingLimits
from services.worker.processor import AttemptPolicy


def attempt_policy(config: WorkerConfig) -> AttemptPolicy:
    backoff = Backoff(
        base=timedelta(seconds=config.retry_backoff_base_s),
        cap=timedelta(seconds=config.retry_backoff_cap_s),
    )
    return AttemptPolicy(
        budget=timedelta(seconds=config.processing_budget_s),
        backoff=backoff,
        limits=config.failure_limits(),
    )


def fetch_policy(config: WorkerConfig) -> FetchPolicy:
    return FetchPolicy(
        max_bytes=config.fetch_max_bytes,
        timeout_s=config.fetch_timeout_s,
        max_redirects=config.fetch_max_redirects,
        allowed_ports=config.fetch_allowed_ports,
        allowed_networks=config.fetch_allowed_networks,
        contact=config.fetch_contact,
        denied_networks=config.fetch_denied_networks,
    )


def imaging_limits(config: WorkerConfig) -> ImagingLimits:
    return ImagingLimits(
        memory_bytes=config.imaging_memory_bytes,
        timeout_s=config.imaging_timeout_s,
        max_pixels=config.imaging_max_pixels,
    )
