"""Batchers of the tests, stopped at their end."""

from collections.abc import AsyncIterator
from contextlib import ExitStack

import pytest

from salver.execution.batch_options import BatchOptions
from tests.batching import NEVER_INLINE_S, Opened, Site, started


@pytest.fixture
async def opened() -> AsyncIterator[Opened]:
    with ExitStack() as sites:

        def open_(
            options: BatchOptions,
            threads: int = 1,
            inline_s: float = NEVER_INLINE_S,
            max_wait_s: float = 0.0,
            max_queued_bytes: int = 0,
        ) -> Site:
            site = Site(options, threads, inline_s, max_wait_s, max_queued_bytes)
            return sites.enter_context(started(site))

        yield open_
