"""Names of classes that a model file does not keep: `labels.txt`, one line for each class."""

from pathlib import Path

import numpy as np

from salver.backends.table_functions import Labels
from salver.errors import FailedPrecondition, InvalidArgument

FILE_NAME = "labels.txt"


def numbered_labels(folder: Path, count: int, where: str) -> Labels:
    """The labels of a model that numbers its classes: those of the file, else the numbers.

    `where` names the model, for messages.

    Raises:
        FailedPrecondition: the file cannot be read.
        InvalidArgument: it has not one line for each class.
    """
    path = folder / FILE_NAME
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return Labels(np.arange(count, dtype=np.int64))
    except (OSError, UnicodeDecodeError) as error:
        raise FailedPrecondition(f"{where}: {FILE_NAME} cannot be read: {error}") from error
    if len(lines) != count:
        raise InvalidArgument(
            f"{where}: {FILE_NAME} has {len(lines)} lines, the model has {count} classes"
        )
    labels = np.empty(count, object)
    labels[:] = [line.encode() for line in lines]
    return Labels(labels)
