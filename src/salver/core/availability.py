"""Waiting until servables answer: at the start and after new ones were configured.

A servable has arrived when, looking from its highest aspired version down, the
first one that is either AVAILABLE or at its END is AVAILABLE; it has failed when
that one is at its END. Ends of earlier lives do not count.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, Literal

from salver.core.events import StateChanged
from salver.core.manager import Manager
from salver.core.servable import ServableId
from salver.core.state import State, VersionStatus
from salver.errors import UnknownError


async def wait_until_available(
    manager: Manager[Any], names: Iterable[str], kind: Literal["servable", "model"] = "servable"
) -> None:
    """Return when every servable has arrived; there is no limit of time.

    `kind` is the word of the message: a server that starts speaks of servables, a
    changed configuration of models.

    Raises:
        UnknownError: all have arrived or failed, and these failed, each for its reason.
    """
    pending = sorted(set(names))
    failed: list[str] = []
    changed = asyncio.Event()
    unsubscribe = manager.events.subscribe(StateChanged, lambda event: changed.set())
    try:
        while pending:
            changed.clear()
            for name in list(pending):
                decisive = _decisive(manager.aspired_statuses(name))
                if decisive is not None:
                    pending.remove(name)
                    if decisive.state is State.END:
                        failed.append(_reason(name, decisive))
            if pending:
                await changed.wait()
    finally:
        unsubscribe()
    if failed:
        listed = "".join(f"{{{reason}}}, " for reason in sorted(failed))
        raise UnknownError(f"{len(failed)} {kind}(s) did not become available: {{{listed}}}")


def _decisive(statuses: Iterable[VersionStatus]) -> VersionStatus | None:
    """The first of the versions, given from the highest down, whose fate is known."""
    return next((s for s in statuses if s.state in (State.AVAILABLE, State.END)), None)


def _reason(name: str, status: VersionStatus) -> str:
    cause = "" if status.error is None else f" due to error: {status.error.status}"
    return f"{ServableId(name, status.version)}{cause}"
