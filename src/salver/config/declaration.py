"""How a flag is declared: once, as a field of a dataclass, with everything there is to say.

`int32(...)` and `int64(...)` declare whole numbers, `flag(...)` everything else, by the
type of its default. The parser, `--help` and the documentation page all read the
resulting table.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any

Value = bool | int | float | str


class Kind(Enum):
    """The type of a flag's value, by the name that the usage text shows."""

    BOOL = "bool"
    INT32 = "int32"
    INT64 = "int64"
    FLOAT = "float"
    STRING = "string"


_KINDS = {bool: Kind.BOOL, float: Kind.FLOAT, str: Kind.STRING}


class Effect(Enum):
    """What giving the flag changes."""

    IMPLEMENTED = "implemented"
    NOT_YET = "accepted, no effect yet"
    MEANINGLESS = "accepted, means nothing here"
    REFUSED = "refused, not there yet"


class Origin(Enum):
    """Whose flag it is; the heading under which it is listed."""

    TENSORFLOW_SERVING = "Flags of TensorFlow Serving"
    SALVER = "Flags of Salver"


@dataclass(frozen=True, slots=True)
class Computed:
    """A default that depends on the machine, and the words for it."""

    words: str
    compute: Callable[[], int | float]


@dataclass(frozen=True, slots=True)
class Declaration:
    """Everything that is known about one flag."""

    name: str
    kind: Kind
    default: Value | Computed
    description: str
    effect: Effect
    reason: str
    """Why the flag means nothing here, or is refused; else empty."""
    origin: Origin

    @property
    def default_value(self) -> Value:
        """The default on this machine."""
        return self.default.compute() if isinstance(self.default, Computed) else self.default


def flag(
    default: Value | Computed,
    description: str,
    *,
    kind: Kind | None = None,
    effect: Effect = Effect.IMPLEMENTED,
    reason: str = "",
    origin: Origin = Origin.TENSORFLOW_SERVING,
) -> Any:
    """Declare the dataclass field under it as a flag of the same name."""
    metadata = {
        "kind": kind or _KINDS[type(default)],
        "default": default,
        "description": description,
        "effect": effect,
        "reason": reason,
        "origin": origin,
    }
    if isinstance(default, Computed):
        return dataclasses.field(default_factory=default.compute, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


int32 = partial(flag, kind=Kind.INT32)
int64 = partial(flag, kind=Kind.INT64)


def declarations_of(flags: type) -> tuple[Declaration, ...]:
    """The table of all flags that a dataclass declares, in the order of declaration."""
    return tuple(
        Declaration(name=field.name, **field.metadata) for field in dataclasses.fields(flags)
    )
