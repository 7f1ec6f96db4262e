"""Waiting for what other threads do."""

import threading
from collections.abc import Callable

from tests.fakes import LIMIT_S


def wait_until(holds: Callable[[], bool]) -> None:
    """Look again and again; for what no event tells."""
    never = threading.Event()
    for _ in range(int(LIMIT_S / 0.01)):
        if holds():
            return
        never.wait(0.01)
    raise AssertionError("it never came true")
