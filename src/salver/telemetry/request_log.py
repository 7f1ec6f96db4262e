"""Request logs, the loop's side: which requests are kept, and the queue to the thread that writes.

What is kept of a request are references to its arrays, which nobody changes any more. Nothing is
encoded here, and nothing waits: what does not fit into the queue is dropped and counted.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from random import random
from time import time

import numpy as np

from salver.core.servable import ServableId
from salver.errors import Code

logger = logging.getLogger(__name__)

_ENTRY_BYTES = 1024
"""Of an entry without the values of its arrays, roughly."""


@dataclass(frozen=True, slots=True)
class RequestLogSettings:
    """Which requests of a model are logged, and where."""

    filename_prefix: str
    sampling_rate: float
    """Share of the requests, from 0 to 1."""
    sampling_config: bytes = b""
    """The same as a serialized `tensorflow.serving.SamplingConfig`, for the records."""


@dataclass(frozen=True, slots=True)
class PredictCall:
    """A Predict request and its answer. Arrays are in the order of the names."""

    signature_name: str
    input_names: Sequence[str]
    inputs: Sequence[np.ndarray]
    output_filter: Sequence[str]
    output_names: Sequence[str]
    outputs: Sequence[np.ndarray]

    @property
    def arrays(self) -> list[np.ndarray]:
        return [*self.inputs, *self.outputs]


@dataclass(frozen=True, slots=True)
class ExampleAnswer:
    """What one signature said about the examples: values, or else classes and scores."""

    signature_name: str
    method_name: str
    classes: np.ndarray | None = None
    scores: np.ndarray | None = None
    values: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class ExamplesCall:
    """A Classify, Regress or MultiInference request and its answer."""

    is_multi: bool
    examples: np.ndarray
    """Serialized `tf.Example`s."""
    answers: Sequence[ExampleAnswer]
    """One, or one for each task of a MultiInference."""

    @property
    def arrays(self) -> list[np.ndarray]:
        found = [self.examples]
        for answer in self.answers:
            arrays = (answer.classes, answer.scores, answer.values)
            found += [array for array in arrays if array is not None]
        return found


LoggedCall = PredictCall | ExamplesCall


@dataclass(frozen=True, slots=True)
class Entry:
    """One request on its way to a file."""

    settings: RequestLogSettings
    id: ServableId
    """The version that answered."""
    time_s: float
    """When it was answered, in seconds since 1970."""
    call: LoggedCall


@dataclass(frozen=True, slots=True)
class Retired:
    """No further entry for the files of this prefix is to come."""

    filename_prefix: str


class EntryQueue:
    """From the loop to the writer, and bounded by the bytes of what waits in it."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: deque[tuple[Entry | Retired, int]] = deque()
        # Each is written by one thread only, so that neither needs a lock.
        self._bytes_in = 0
        self._bytes_out = 0
        self.filled = threading.Event()
        """Set when there is something to take."""

    def offer(self, entry: Entry) -> bool:
        """Put an entry in; False if it does not fit. Loop only."""
        size = _ENTRY_BYTES + _size_of(entry.call.arrays)
        if self._bytes_in - self._bytes_out + size > self._max_bytes:
            return False
        self._bytes_in += size
        self._put(entry, size)
        return True

    def retire(self, filename_prefix: str) -> None:
        """Tell that the entries for these files are all in. Loop only."""
        self._put(Retired(filename_prefix), 0)

    def _put(self, entry: Entry | Retired, size: int) -> None:
        self._entries.append((entry, size))
        if not self.filled.is_set():
            self.filled.set()

    def take(self) -> Entry | Retired | None:
        """The oldest, None if there is none. Writer only."""
        try:
            entry, size = self._entries.popleft()
        except IndexError:
            return None
        self._bytes_out += size
        return entry


class RequestLog:
    """The log of one model. Loop only."""

    __slots__ = ("_count", "_is_dropping", "_queue", "_rate", "_settings")

    def __init__(
        self, settings: RequestLogSettings, queue: EntryQueue, count: Callable[[str, Code], None]
    ) -> None:
        self._settings = settings
        self._rate = settings.sampling_rate
        self._queue = queue
        self._count = count
        self._is_dropping = False

    def chooses(self) -> bool:
        """Whether the request at hand is to be logged."""
        return random() < self._rate

    def add(self, id_: ServableId, call: LoggedCall) -> None:
        """Log a request that has been answered."""
        if self._queue.offer(Entry(self._settings, id_, time(), call)):
            self._is_dropping = False
            return
        self._count(id_.name, Code.RESOURCE_EXHAUSTED)
        if not self._is_dropping:
            self._is_dropping = True
            logger.warning(
                "Requests to %s come faster than they are written to %s: some are not logged",
                id_.name,
                self._settings.filename_prefix,
            )


class RequestLogs:
    """The logs in force. Loop only."""

    def __init__(self, queue: EntryQueue, count: Callable[[str, Code], None]) -> None:
        self.by_model: dict[str, RequestLog] = {}
        """Empty while nothing is logged; always the same object."""
        self._queue = queue
        self._count = count
        self._settings: Mapping[str, RequestLogSettings] = {}

    def configure(self, settings: Mapping[str, RequestLogSettings]) -> None:
        """From now on log what `settings` say, by the name of the model, and nothing else."""
        gone = _prefixes(self._settings.values()) - _prefixes(settings.values())
        for name in set(self._settings) - set(settings):
            del self.by_model[name]
        for name, wanted in settings.items():
            if self._settings.get(name) != wanted:
                self.by_model[name] = RequestLog(wanted, self._queue, self._count)
        self._settings = dict(settings)
        for filename_prefix in sorted(gone):
            self._queue.retire(filename_prefix)


def _prefixes(settings: Collection[RequestLogSettings]) -> set[str]:
    return {each.filename_prefix for each in settings}


def _size_of(arrays: Sequence[np.ndarray]) -> int:
    """Bytes that the arrays keep in memory, of strings those that they point to."""
    size = 0
    for array in arrays:
        size += array.nbytes
        if array.dtype.hasobject:
            size += sum(map(len, array.flat))
    return size
