"""Blessings of TFX: what Evaluator and InfraValidator have found, as an empty file in a folder.

Source: tfx/components/evaluator/constants.py and tfx/components/infra_validator/executor.py.
"""

import os
from collections.abc import Collection
from dataclasses import dataclass

from salver.errors import InvalidArgument, NotFound
from salver.sources.remote_files import RemoteFiles
from salver.sources.remote_schemes import require_scheme
from salver.sources.storage import local_path
from salver.sources.uri import redacted, scheme_of


@dataclass(frozen=True, slots=True)
class BlessingKind:
    """The names of the files."""

    component: str
    blessed: str
    refused: str


MODEL = BlessingKind("Evaluator", "BLESSED", "NOT_BLESSED")
INFRA = BlessingKind("InfraValidator", "INFRA_BLESSED", "INFRA_NOT_BLESSED")


def is_blessed(folder: str, kind: BlessingKind) -> bool:
    """What the folder of a component's output says.

    Raises:
        NotFound: there is no such folder.
        InvalidArgument: it says nothing, or both.
        ServingError: the storage cannot be asked.
    """
    names = _names(folder)
    said = [name for name in (kind.blessed, kind.refused) if name in names]
    if len(said) != 1:
        there = "both are" if said else "neither is"
        raise InvalidArgument(
            f"{redacted(folder)} is no output of {kind.component}: of {kind.blessed} and "
            f"{kind.refused} {there} there"
        )
    return said[0] == kind.blessed


def _names(folder: str) -> Collection[str]:
    try:
        if scheme_of(folder):
            require_scheme(folder)
            return RemoteFiles().names(folder)
        return os.listdir(local_path(folder))
    except OSError as error:
        raise NotFound(f"{redacted(folder)}: {error.strerror}") from error
