"""Which version of a servable stream to load or unload next.

A policy is a function from what is there to the next step, or to None if nothing
is to be done now. The manager calls it again after each step and each change,
with everything it needs as arguments. A version that is queued for a load thread
counts as LOADING. Versions that left the aspired set and have ended are not shown.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from salver.core.state import State


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One version as a policy sees it."""

    version: int
    state: State
    aspired: bool


@dataclass(frozen=True, slots=True)
class Load:
    """Begin to load this version."""

    version: int


@dataclass(frozen=True, slots=True)
class Unload:
    """Hide this version and free it when its last request is answered."""

    version: int


Policy = Callable[[Sequence[Snapshot]], Load | Unload | None]


def preserve_availability(versions: Sequence[Snapshot]) -> Load | Unload | None:
    """Never drop the last available version while a successor is on its way.

    Costs the memory of one version more during a change. Where a wanted version
    answers already, stale ones go first, one after the other, and the next load
    waits until they are gone: then the extra memory is not needed.
    """
    stale = [v.version for v in versions if v.state is State.AVAILABLE and not v.aspired]
    served = any(v.aspired and v.state is State.AVAILABLE for v in versions)
    wanted = any(v.aspired for v in versions)
    if stale and (not wanted or served or len(stale) > 1):
        return Unload(min(stale))
    if served and any(v.state is State.UNLOADING for v in versions):
        return None
    return _load_highest(versions)


def preserve_resources(versions: Sequence[Snapshot]) -> Load | Unload | None:
    """Never hold more than the aspired versions: free everything stale before any load.

    Costs a gap in service at each change.
    """
    stale = [v for v in versions if not v.aspired]
    available = [v.version for v in stale if v.state is State.AVAILABLE]
    if available:
        return Unload(min(available))
    if any(v.state is not State.END for v in stale):
        return None
    return _load_highest(versions)


def _load_highest(versions: Sequence[Snapshot]) -> Load | None:
    fresh = [v.version for v in versions if v.aspired and v.state is State.START]
    return Load(max(fresh)) if fresh else None
