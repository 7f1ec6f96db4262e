"""Back to the version before: the newest one is put where no server looks, and can come back."""

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from salver.backends.registry import Backends
from salver.errors import NotFound, ServingError
from salver.inspection.finding import told
from salver.push.destination import Destination, destination_of
from salver.push.interruption import Interruption
from salver.push.report import Exit, StillThere
from salver.push.served_model import ServerOptions, asked
from salver.push.version_number import aside_name, aside_versions
from salver.sources.storage import local_path
from salver.sources.uri import redacted, scheme_of


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackOrder:
    """As the flags of `salver rollback`."""

    base_path: str
    to: int | None = None
    """The version to return to; None: the one before the newest."""
    undo: bool = False
    """Whether the version that was rolled back last is to come back instead."""
    server: ServerOptions | None = None
    """Who is asked whether the version works that is the newest then."""


@dataclass(slots=True)
class RollbackReport:
    """What came of it; nothing secret in it."""

    destination: str
    version: int | None = None
    """The one that is the newest now."""
    set_aside: list[int] = field(default_factory=list)
    """Versions that servers do not find any more, newest first."""
    brought_back: int | None = None
    server: str = ""
    """What became of `version` there."""
    error: str = ""
    exit_code: int = 0

    def as_json(self) -> dict[str, Any]:
        """For `json.dump`."""
        return asdict(self)


def rollback(
    order: RollbackOrder,
    interruption: Interruption,
    tell: Callable[[str], None],
    clock: Callable[[], float] = time.time,
) -> RollbackReport:
    """Return to an earlier version, or undo that; the report tells what went wrong.

    Raises:
        Interrupted: a signal arrived; all is as it was.
    """
    report = RollbackReport(redacted(order.base_path))
    rolling = _Rollback(order, report, interruption, tell)
    try:
        destination = destination_of(order.base_path, Backends(), clock)
        if not scheme_of(order.base_path) and not os.path.exists(local_path(order.base_path)):
            raise NotFound(f"{order.base_path}: there is no such folder")
    except ServingError as error:
        report.error, report.exit_code = _shown(error, order), Exit.WRONG_USE
        return report
    try:
        with interruption.held():
            rolling.run(destination)
    except _Refused as refused:
        report.error, report.exit_code = str(refused), Exit.REFUSED
    except _NotServed as failed:
        report.error, report.exit_code = _shown(failed.error, order), failed.exit_code
    except ServingError as error:
        is_there = isinstance(error, StillThere)
        report.error = _shown(error, order)
        report.exit_code = Exit.NOT_TAKEN_BACK if is_there else Exit.NOT_WRITTEN
    return report


def _shown(error: ServingError, order: RollbackOrder) -> str:
    return redacted(told(error), order.base_path)


class _Refused(Exception):
    pass


class _NotServed(Exception):
    def __init__(self, exit_code: Exit, error: ServingError) -> None:
        super().__init__(error.message)
        self.exit_code = exit_code
        self.error = error


class _Rollback:
    def __init__(
        self,
        order: RollbackOrder,
        report: RollbackReport,
        interruption: Interruption,
        tell: Callable[[str], None],
    ) -> None:
        self._order = order
        self._report = report
        self._interruption = interruption
        self._tell = tell

    def run(self, destination: Destination) -> None:
        if self._order.server is not None:
            # A server that cannot be asked would be waited for in vain, after all had been moved.
            with asked(self._order.server) as served:
                served.version()
        try:
            if self._order.undo:
                self._bring_back(destination)
            else:
                self._set_aside(destination)
            self._await()
        except BaseException as error:
            try:
                self._restore(destination)
            except ServingError as failure:
                raise _NotServed(Exit.NOT_TAKEN_BACK, failure) from error
            raise

    def _set_aside(self, destination: Destination) -> None:
        versions = destination.versions()
        to = self._target(versions)
        for number in [number for number in versions[::-1] if number > to]:
            self._interruption.check()
            destination.set_aside(number)
            self._report.set_aside.append(number)
            self._tell(f"Version {number} is kept as {aside_name(number)}")
        self._report.version = to
        self._tell(f"The newest version is {to} now")

    def _target(self, versions: list[int]) -> int:
        shown = self._report.destination
        if not versions:
            raise _Refused(f"{shown} has no version")
        there = ", ".join(map(str, versions[-10:]))
        to = self._order.to
        if to is None:
            if len(versions) < 2:
                raise _Refused(f"{shown} has version {there} alone: there is none to return to")
            return versions[-2]
        if to not in versions:
            raise _Refused(f"{shown} has no version {to}; there are: {there}")
        if to == versions[-1]:
            raise _Refused(f"Version {to} is the newest one in {shown} already")
        return to

    def _bring_back(self, destination: Destination) -> None:
        newest = max(destination.versions(), default=None)
        aside = sorted(aside_versions(destination.names()))
        later = [number for number in aside if newest is None or number > newest]
        if not later:
            raise _Refused(
                f"Nothing newer than version {newest} was rolled back in {self._report.destination}"
            )
        self._interruption.check()
        destination.bring_back(later[0])
        self._report.version = self._report.brought_back = later[0]
        self._tell(f"Version {later[0]} is back")

    def _await(self) -> None:
        if self._order.server is None or self._report.version is None:
            return
        with asked(self._order.server) as served:
            try:
                state = served.wait_until_served(
                    self._report.version, self._interruption, is_new=False
                )
                answer = served.answers(self._report.version, None)
            except ServingError as error:
                raise _NotServed(Exit.TAKEN_BACK, error) from error
        self._report.server = f"{state}, {answer}"
        self._tell(f"The server: {self._report.server}")

    def _restore(self, destination: Destination) -> None:
        """Have everything as it was."""
        report = self._report
        while report.set_aside:
            number = report.set_aside[-1]
            destination.bring_back(number)
            report.set_aside.pop()
        if report.brought_back is not None:
            destination.set_aside(report.brought_back)
            report.brought_back = None
        report.version = None
