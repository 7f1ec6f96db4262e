"""What server and worker say to each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

MOST_PROGRAMS = 1000
"""As many are numbered and kept by a worker."""
UNNUMBERED = 0
"""The number of programs that are made anew for each run."""


@dataclass(frozen=True, slots=True)
class Start:
    """What the worker needs to know, and cannot know from its environment."""

    import_path: tuple[str, ...]
    """`sys.path` of the server: what it could import, the worker can."""
    log_level: int
    description: bytes
    """A pickled `Callable[[], Loader]`. It comes from the server, which trusts itself; nothing
    that a worker sends is a pickle."""


class Kind(IntEnum):
    """What a message is."""

    START = 1
    """To the worker, first: `text` is the pickled `Start`."""
    LOADED = 2
    """From it: `arrays` are the signatures, see `signature_layout.py`."""
    RUN = 3
    """To it: run program `number` on `arrays`; `text` names its tensors, if it may be new."""
    RESULT = 4
    """From it: `arrays` are the outputs."""
    FAILED = 5
    """From it: the load or the run ended with code `number` and the message `text`."""


@dataclass(slots=True)
class Message:
    """One message, either way."""

    kind: Kind
    number: int = 0
    text: bytes = b""
    arrays: Sequence[np.ndarray] = ()
