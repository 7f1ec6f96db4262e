"""Which of several versions a call is for: by shares of the calls, and by key always the same."""

import hashlib
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import TypedDict

from salver.errors import InvalidArgument

_WHOLE = 1 << 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One of the versions that are compared; `**arm.choice` are the arguments for a call."""

    share: float
    """Of the calls, from 0 to 1."""
    version: int | None = None
    label: str | None = None
    """Without a version and a label it is the latest version."""

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise InvalidArgument(f"the share of an arm is {self.share}, not from 0 to 1")
        if self.version is not None and self.label is not None:
            raise InvalidArgument(
                f"version {self.version} and label {self.label!r} are in one arm; choose one"
            )

    @property
    def choice(self) -> "Choice":
        """The version and the label as arguments of a call."""
        return {"version": self.version, "label": self.label}


class Choice(TypedDict):
    """Arguments of every call that runs a model."""

    version: int | None
    label: str | None


class TrafficSplit:
    """Deals calls out to arms. From any thread.

    A key (a user, a session) always gets the same arm, in every process. If shares change, a key
    only moves where the border between two arms has passed it: with the arms in the same order,
    a canary in the last place that grows keeps all the keys that it had.
    """

    def __init__(
        self, *arms: Arm, salt: str = "", chance: Callable[[], float] = random.random
    ) -> None:
        """Deal out by the shares of `arms`.

        Args:
            arms: their shares are 1 in all.
            salt: the name of the experiment: another one deals the same keys out anew.
            chance: gives numbers from 0 to 1, for calls without a key.

        Raises:
            InvalidArgument: the shares are not 1 in all.
        """
        total = math.fsum(arm.share for arm in arms)
        if not math.isclose(total, 1.0, abs_tol=1e-9):
            raise InvalidArgument(f"the shares of the arms are {total:g} in all, and must be 1")
        self._arms = arms
        self._salt = hashlib.blake2b(salt.encode(), digest_size=32).digest()
        self._chance = chance
        self._ends = list(accumulate(arm.share for arm in arms))

    def arm(self, key: str | bytes | int | None = None) -> Arm:
        """The arm for a key; without one, by chance."""
        place = self._chance() if key is None else self._place(key)
        for arm, end in zip(self._arms, self._ends, strict=True):
            if place < end:
                return arm
        # The shares may be 1 but for a rounding: what is beyond is the last that has any.
        return next(arm for arm in reversed(self._arms) if arm.share)

    def _place(self, key: str | bytes | int) -> float:
        """Where on the line from 0 to 1 a key lies; not by `hash`, which differs by process."""
        text = key if isinstance(key, bytes) else str(key).encode()
        digest = hashlib.blake2b(text, digest_size=8, key=self._salt)
        return int.from_bytes(digest.digest(), "big") / _WHOLE
