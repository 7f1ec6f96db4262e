"""How far a run has come: a small file beside the output, which a later run goes on from."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from salver.errors import DataLoss, FailedPrecondition


@dataclass(slots=True)
class Progress:
    """All rows up to here are in the files, whole."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """What must be the same for a run that goes on."""
    rows: int = 0
    """Read from the input, good or bad."""
    bad_rows: int = 0
    output_size: int = 0
    """Bytes that belong to it; or parts of a file that is put together at the end."""
    bad_size: int = 0


class ProgressRecord:
    """The file. It is replaced, never changed: at any time it holds one state."""

    def __init__(self, path: str) -> None:
        self.path = path

    def read(self) -> Progress | None:
        """What the last run left; None if there is nothing.

        Raises:
            DataLoss: the file is none of ours.
            FailedPrecondition: it cannot be read.
        """
        try:
            with open(self.path, encoding="utf-8") as file:
                return Progress(**json.load(file))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise FailedPrecondition(f"{self.path}: {error.strerror}") from error
        except (ValueError, TypeError) as error:
            raise DataLoss(
                f"{self.path} does not tell how far a run has come; --overwrite begins anew"
            ) from error

    def write(self, progress: Progress) -> None:
        """Replace the file."""
        beside = f"{self.path}.new"
        with open(beside, "w", encoding="utf-8") as file:
            json.dump(asdict(progress), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, self.path)

    def remove(self) -> None:
        """The run is over."""
        for path in (self.path, f"{self.path}.new"):
            if os.path.exists(path):
                os.remove(path)


def require_same(settings: Mapping[str, Any], progress: Progress, path: str) -> None:
    """Check that a run may go on from what another left.

    Raises:
        FailedPrecondition: it was one of another input, model or form; the message tells which.
    """
    # As JSON has them.
    now = json.loads(json.dumps(settings))
    for name, value in now.items():
        before = progress.settings.get(name)
        if before != value:
            raise FailedPrecondition(
                f"{path} is of a run with {name} {before!r}, and this one has {value!r}: run it "
                "as before to finish it, or with --overwrite to begin anew"
            )
