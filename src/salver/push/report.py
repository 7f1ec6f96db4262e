"""What a push has done, for people and for pipelines."""

from dataclasses import asdict, dataclass, field
from enum import Enum, IntEnum
from typing import Any

from salver.errors import FailedPrecondition


class Exit(IntEnum):
    """How a push or a rollback has ended: the exit code."""

    DONE = 0
    """Published, or rolled back; with `--check_only`: nothing speaks against it."""
    REFUSED = 1
    """A check speaks against the model, or there is nothing to roll back to."""
    WRONG_USE = 2
    """Wrong flags, or no such folder, file or model."""
    TAKEN_BACK = 3
    """It was published, the server could not serve it, and all is as it was."""
    NOT_WRITTEN = 4
    """The storage or the server could not be asked; all is as it was."""
    NOT_TAKEN_BACK = 5
    """The server or the storage failed, and it could not be taken back: it may be there."""


class StillThere(FailedPrecondition):
    """A version that was to go may be served: the storage could not be asked to the end."""


class Outcome(Enum):
    """Of one check."""

    PASSED = "passed"
    REFUSED = "refused"
    ALLOWED = "allowed"
    """It would have been refused, had the user not allowed it."""
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    outcome: Outcome
    text: str
    """What was found, one line."""
    details: tuple[str, ...] = ()
    """Each thing that was found, where there are several."""


@dataclass(slots=True)
class Report:
    """Filled while a push goes on; nothing secret in it."""

    model: str
    destination: str
    checks: list[Check] = field(default_factory=list)
    files: int = 0
    bytes: int = 0
    compared_with: int | None = None
    """The version that was there."""
    version: int | None = None
    """The one that was published, be it that it was taken back."""
    server: str = ""
    """What became of it there."""
    latency: dict[str, float] | None = None
    swept: list[str] = field(default_factory=list)
    """What pushes had left behind that were killed."""
    error: str = ""
    exit_code: int = 0
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """For `json.dump`."""
        document = asdict(self)
        for check in document["checks"]:
            check["outcome"] = check["outcome"].value
        return document
