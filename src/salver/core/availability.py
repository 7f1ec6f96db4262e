"""Waiting until servables answer: at the start and after new ones were configured.

A servable has arrived when, looking from its highest aspired version down, the
first one that is either AVAILABLE or at its END is AVAILABLE; it has failed when
that one is at its END. Ends of earlier lives do not count.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable
from typing import Any, Literal

from salver.core.events import StateChanged
from salver.core.manager import Manager
from salver.core.servable import ServableId
from salver.core.state import State, VersionStatus
from salver.errors import UnknownError

Kind = Literal["servable", "model"]


class Withdrawals:
    """Tells those who wait for servables that some are not wanted any more. Loop only."""

    def __init__(self) -> None:
        self._listeners: set[Callable[[Collection[str]], None]] = set()

    def keep_only(self, names: Collection[str]) -> None:
        """From now on nobody waits for any other servable."""
        for listener in self._listeners:
            listener(names)

    def listen(self, listener: Callable[[Collection[str]], None]) -> Callable[[], None]:
        """Have it called with the names that are kept; returns what to call to end that."""
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)


async def wait_until_available(
    manager: Manager[Any],
    names: Iterable[str],
    kind: Kind = "servable",
    withdrawals: Withdrawals | None = None,
) -> None:
    """Return when every servable has arrived; there is no limit of time.

    `kind` is the word of the message: a server that starts speaks of servables, a
    changed configuration of models. Servables that are withdrawn meanwhile are not waited for.

    Raises:
        UnknownError: all have arrived or failed, and these failed, each for its reason.
    """
    pending = set(names)
    failed: list[str] = []
    changed = asyncio.Event()

    def keep_only(kept: Collection[str]) -> None:
        pending.intersection_update(kept)
        changed.set()

    unsubscribe = manager.events.subscribe(StateChanged, lambda event: changed.set())
    unlisten = (withdrawals or Withdrawals()).listen(keep_only)
    try:
        while pending:
            changed.clear()
            for name in sorted(pending):
                decisive = _decisive(manager.aspired_statuses(name))
                if decisive is not None:
                    pending.remove(name)
                    if decisive.state is State.END:
                        failed.append(_reason(name, decisive))
            if pending:
                await changed.wait()
    finally:
        unsubscribe()
        unlisten()
    if failed:
        listed = "".join(f"{{{reason}}}, " for reason in sorted(failed))
        raise UnknownError(f"{len(failed)} {kind}(s) did not become available: {{{listed}}}")


async def wait_until_settled(manager: Manager[Any], limit_s: float) -> None:
    """Return when every version that is wanted is AVAILABLE or at its END; at the latest then."""
    changed = asyncio.Event()
    unsubscribe = manager.events.subscribe(StateChanged, lambda event: changed.set())
    try:
        async with asyncio.timeout(limit_s):
            while not _have_settled(manager):
                changed.clear()
                await changed.wait()
    except TimeoutError:
        pass  # Who waits for more waits too long.
    finally:
        unsubscribe()


def _have_settled(manager: Manager[Any]) -> bool:
    return all(
        status.state in (State.AVAILABLE, State.END)
        for name in manager.names()
        for status in manager.aspired_statuses(name)
    )


def _decisive(statuses: Iterable[VersionStatus]) -> VersionStatus | None:
    """The first of the versions, given from the highest down, whose fate is known."""
    return next((s for s in statuses if s.state in (State.AVAILABLE, State.END)), None)


def _reason(name: str, status: VersionStatus) -> str:
    cause = "" if status.error is None else f" due to error: {status.error.status}"
    return f"{ServableId(name, status.version)}{cause}"
