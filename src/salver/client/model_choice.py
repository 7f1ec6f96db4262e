"""Which model, version and signature a call is for."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from salver.errors import InvalidArgument

_HIGHEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Without a version and a label it is the latest version.

    Raises:
        InvalidArgument: there is no name, or both a version and a label.
    """

    model: str
    version: int | None = None
    label: str | None = None
    signature: str = ""
    """Empty for the default one."""

    def __post_init__(self) -> None:
        if not self.model:
            raise InvalidArgument("the model has no name")
        for text in filter(None, (self.model, self.label, self.signature)):
            _require_name(text)
        if self.version is not None:
            _require_version(self.version)
        if self.version is not None and self.label is not None:
            raise InvalidArgument(
                f"version {self.version} and label {self.label!r} were given; choose one"
            )


def _require_name(text: Any) -> None:
    try:
        if isinstance(text, str) and text.encode():
            return
    except UnicodeEncodeError:
        pass  # Half of a pair of UTF-16.
    raise InvalidArgument(f"{text!r} is no name")


def _require_version(version: Any) -> None:
    is_whole = isinstance(version, int | np.integer) and not isinstance(version, bool)
    if not is_whole or not 0 <= version <= _HIGHEST:
        raise InvalidArgument(f"version is {version!r}, and must be a whole number from 0 on")
