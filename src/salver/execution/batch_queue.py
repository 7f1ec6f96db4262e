"""A queue of requests for one program, in batches: pure, no clock, no threads.

The last batch is open: requests join it as long as they fit. A batch is due when another
was opened behind it, when it is full, or when its first request has waited long enough.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Protocol

import numpy as np

from salver.core.deep_array import DeepArray
from salver.errors import FailedPrecondition, InvalidArgument, Unavailable
from salver.execution.batch_arrays import kind_of
from salver.execution.batch_control import BatchControl
from salver.execution.batch_options import BatchOptions
from salver.execution.batch_policy import PolicySearch
from salver.execution.batch_proof import BatchProof
from salver.execution.row_counts import JoinedCounts

_MOST_KINDS = 4096
_LOOKED_THROUGH = 64
"""Requests among which those are looked for that can be run together."""
_LOOKED_THROUGH_FOR_LENGTH, _MOST_FILLED_UP = 256, 2.0
"""Requests among which those are looked for that are about as long, where they are padded; and how
many times what they have a batch may have in the end."""

if TYPE_CHECKING:
    from salver.execution.batch_run import BatchRun
    from salver.execution.loop_batch import LoopRequest
    from salver.execution.prepared import Executable


class Entry(Protocol):
    """A request, or a piece of one, as the queue sees it."""

    rows: int
    size: int
    """Bytes of the inputs."""
    inputs: Sequence[np.ndarray]
    kind: int
    """Those with the same can be run as one, as far as is known; the queue's alone."""
    batch: "Batch | None"
    """Where it waits; None once it no longer does."""
    added_at: float


class Batch:
    """Requests that will be run together."""

    __slots__ = ("entries", "opened_at", "queue", "rows", "size")

    queue: "BatchQueue"
    """Where it was taken from. Not before: the two would keep each other in memory."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.rows = 0
        self.size = 0
        """Bytes of all inputs: added up as they come, for it is asked for at every turn."""
        self.opened_at = 0.0
        """When its first request came."""


@dataclass(slots=True)
class Totals:
    """What has become of the requests of a queue since its version was loaded."""

    alone: int = 0
    """Requests that went past the queue and ran in no batch: too cheap for it, alone for a while,
    or better so."""
    requests: int = 0
    """Requests, or pieces of them, that ran in batches."""
    batches: int = 0
    rows: int = 0
    padding: int = 0
    """Rows that were added to fill batches up."""
    wait_s: float = 0.0
    """What the first requests of all batches waited, together."""
    apart: int = 0
    """Batches whose requests were run apart because together they failed."""
    refused: int = 0


@dataclass(slots=True)
class Joins:
    """Requests that are run as one on the loop, and never wait in the queue."""

    gathered: "list[LoopRequest]" = field(default_factory=list)
    """Those of this turn of the loop."""
    dear_runs: int = 0
    """Runs of several, one after the other, in which each took more than next to nothing."""
    elsewhere: int = 0
    """Requests that went another way for that."""
    counts: JoinedCounts | None = None
    """Where they are counted, for the metrics."""


class BatchQueue:
    """What waits for one program. Times are those of the caller's clock, in seconds."""

    __slots__ = (
        "_batches", "_kinds", "ahead", "control", "entries", "executable", "feeds_twice",
        "is_listed", "is_taught", "is_unfit", "joins", "lone_batches", "name", "options", "proof",
        "ran_at_once", "rows", "running", "runs_past", "search", "size", "totals", "untold",
        "unwatched_up_to_s", "varies",
    )  # fmt: skip

    def __init__(
        self,
        executable: "Executable",
        options: BatchOptions,
        feeds_twice: bool = False,
        name: str = "",
    ) -> None:
        self.executable = executable
        self.name = name
        """The version's, for log lines."""
        self.options = options
        self.control: BatchControl | None = None
        if options.is_automatic:
            limit, target_s = options.max_execution_batch_size, options.latency_target_s
            self.control = BatchControl(limit, target_s)
        pads = options.pad_variable_length_inputs
        self.proof = BatchProof(pads=pads) if options.is_automatic else None
        self.feeds_twice = feeds_twice
        """Whether two inputs are one tensor of the graph: then rows do not add up."""
        self.rows = 0
        """Rows that wait, all batches together."""
        self.size = 0
        """Bytes of their inputs."""
        self.entries = 0
        """Requests that wait, or pieces of them."""
        self.is_listed = False
        """Whether the scheduler knows that something waits here; the scheduler's alone."""
        self.running = 0
        """Batches that threads compute now."""
        self.lone_batches = 0
        """Batches, one after the other, of one request that nobody else came with or after."""
        self.runs_past = False
        """Whether a request runs that was not made a batch of, because it was expected alone."""
        self.ran_at_once = False
        """Whether the last request that could be run at once, alone, was."""
        self.joins = Joins()
        self.untold = 0
        """Answers without a batch, of late, that the search has not been told of."""
        self.search: PolicySearch | None = None
        """How the next batches are formed; None: one on each thread, as the options say."""
        self.unwatched_up_to_s = 0.0
        """What the requests may cost that are yet to come `unwatched`; see the executable."""
        self.ahead: deque[BatchRun] = deque()
        """Batches that are cut already, for the threads that will be done with others. Threads take
        them from the front."""
        self.totals = Totals()
        self.varies = False
        """Whether requests came together that could not be run together, of an automatic queue:
        then batches are made of those that can."""
        self.is_unfit = False
        """Whether it turned out that requests cannot be run together: each runs alone."""
        self.is_taught = False
        """Whether a request of the warm-up was used to learn what batches cost."""
        self._kinds: dict[object, int] = {}
        self._batches: deque[Batch] = deque([Batch()])

    @property
    def batches(self) -> int:
        """How many batches wait, the open one included."""
        return len(self._batches)

    @property
    def rows_before(self) -> int:
        """Rows that no thread has begun yet, and that are run before whatever comes now."""
        if not self.ahead:
            return self.rows
        return self.rows + sum([run.batch.rows for run in list(self.ahead)])

    def cut(self, rows: int) -> Iterator[tuple[int, int]]:
        """The pieces, from row to row, that a request of so many rows is run in.

        Raises:
            Unavailable: the queue is full.
        """
        options = self.options
        if 0 < options.max_enqueued_requests <= self.entries:
            raise Unavailable(f"{self.entries} requests to the model are waiting already")
        size = options.max_execution_batch_size
        open_rows = self._batches[-1].rows
        if not options.enable_large_batch_splitting:
            if open_rows and open_rows + rows > size:
                self._require_room()
            return iter([(0, rows)])
        limit = options.max_enqueued_batches
        capacity = (limit - self.batches) * size + size - open_rows
        if rows > capacity:
            raise Unavailable(
                "The batch scheduling queue to which this task was submitted is full; task size "
                f"is {rows} but scheduling capacity is only {capacity} "
                f"(num_enqueued_batches={self.batches}, max_enqueued_batches={limit}, "
                f"open_batch_size={open_rows}, max_execution_batch_size={size})"
            )
        return _pieces(rows, size - open_rows, size)

    def _require_room(self) -> None:
        limit = max(self.options.max_enqueued_batches, 1)
        if self.batches >= limit:
            raise Unavailable(
                "The batch scheduling queue to which this task was submitted is full; currently "
                f"{self.batches} batches enqueued and max_enqueued_batches is {limit}"
            )

    def add(self, entry: Entry, now: float) -> None:
        """Append what `cut` has found room for."""
        batch = self._batches[-1]
        if batch.rows and batch.rows + entry.rows > self.options.max_execution_batch_size:
            batch = Batch()
            self._batches.append(batch)
        if not batch.entries:
            batch.opened_at = now
        batch.entries.append(entry)
        batch.rows += entry.rows
        batch.size += entry.size
        entry.batch = batch
        entry.added_at = now
        if self.varies:
            may_pad = self.options.pad_variable_length_inputs
            entry.kind = self._number_of(kind_of(entry.inputs, may_pad))
        self.rows += entry.rows
        self.size += entry.size
        self.entries += 1

    def batch_of(self, entries: Sequence[Entry], now: float) -> Batch:
        """A batch of requests that do not wait here, as if they had come now."""
        batch = Batch()
        batch.queue = self
        batch.opened_at = now
        for entry in entries:
            entry.added_at = now
            batch.entries.append(entry)
            batch.rows += entry.rows
            batch.size += entry.size
        return batch

    def remove(self, entry: Entry) -> None:
        """Nobody waits for this entry any more: it makes room."""
        batch = entry.batch
        if batch is None:
            return
        entry.batch = None
        batch.entries.remove(entry)
        batch.rows -= entry.rows
        batch.size -= entry.size
        self.rows -= entry.rows
        self.size -= entry.size
        self.entries -= 1
        if not self.entries and self.control is not None:
            self.control.emptied()
        if not batch.entries and batch is not self._batches[-1]:
            self._batches.remove(batch)

    def due_at(self) -> float | None:
        """When the first batch may be run, if no other request comes; None: nothing waits."""
        first = self._batches[0]
        if not first.entries:
            return None
        if len(self._batches) > 1 or first.rows >= self.options.max_execution_batch_size:
            return first.opened_at
        if self.search is not None:
            policy = self.search.policy
            if self.control is None or not policy.gathers or first.rows >= policy.rows:
                return first.opened_at
            return first.opened_at + self.control.gathering_s
        return first.opened_at + self.options.batch_timeout_s

    @property
    def first_size(self) -> int:
        """Bytes of the first batch's inputs."""
        return self._batches[0].size

    @property
    def first_rows(self) -> int:
        """Rows of the first batch."""
        return self._batches[0].rows

    def rows_alike(self) -> int:
        """Rows that can be run together with those of the first request, as far as one looks."""
        pads = self.options.pad_variable_length_inputs
        count = _LOOKED_THROUGH_FOR_LENGTH if pads else _LOOKED_THROUGH
        entries = self._batches[0].entries[:count]
        return sum([entry.rows for entry in entries if entry.kind == entries[0].kind])

    def take(self, most: int | None = None) -> Batch:
        """The first batch, which no longer waits; of an automatic queue `most` rows, or one entry.

        Something has to wait.
        """
        batch = self._batches[0]
        pads = self.options.pad_variable_length_inputs
        if most is not None and (self.varies or pads or batch.rows > most):
            taken, left = self._chosen(batch.entries, most)
            if left:
                return self._take_part(batch, taken, left)
        self._batches.popleft()
        if not self._batches:
            self._batches.append(Batch())
        self._let_go(batch)
        return batch

    def _number_of(self, kind: object) -> int:
        """For quick comparisons. Should two have the same, they are run apart in the end."""
        if len(self._kinds) >= _MOST_KINDS:
            self._kinds.clear()
        return self._kinds.setdefault(kind, len(self._kinds) + 1)

    def _chosen(self, entries: list[Entry], most: int) -> tuple[list[Entry], list[Entry]]:
        """The first, and what has room beside it among `most` rows; and those that are left."""
        if self.options.pad_variable_length_inputs:
            return _chosen_by_length(entries, most)
        if not self.varies:
            rows = count = 0
            for entry in entries:
                rows += entry.rows
                if count and rows > most:
                    break
                count += 1
            return entries[:count], entries[count:]
        first = entries[0]
        kind, rows = first.kind, first.rows
        taken, left = [first], []
        for entry in entries[1:_LOOKED_THROUGH]:
            if entry.kind == kind and rows + entry.rows <= most:
                rows += entry.rows
                taken.append(entry)
            else:
                left.append(entry)
        return taken, left + entries[_LOOKED_THROUGH:]

    def _take_part(self, batch: Batch, taken: list[Entry], left: list[Entry]) -> Batch:
        part = Batch()
        part.opened_at = batch.opened_at
        part.entries = taken
        part.rows = sum([entry.rows for entry in taken])
        part.size = sum([entry.size for entry in taken])
        batch.entries = left
        batch.opened_at = left[0].added_at
        batch.rows -= part.rows
        batch.size -= part.size
        self._let_go(part)
        return part

    def _let_go(self, batch: Batch) -> None:
        batch.queue = self
        self.rows -= batch.rows
        self.size -= batch.size
        self.entries -= len(batch.entries)
        for entry in batch.entries:
            entry.batch = None


def _chosen_by_length(entries: list[Entry], most: int) -> tuple[list[Entry], list[Entry]]:
    """The first, and among `most` rows those that have to be filled up least beside it."""
    first, rows, size = entries[0], entries[0].rows, entries[0].size
    if rows >= most:
        return entries[:1], entries[1:]
    row_size = size / rows
    longest = [array.shape[1:] for array in first.inputs]
    looked_through = entries[:_LOOKED_THROUGH_FOR_LENGTH]
    alike = [entry for entry in looked_through[1:] if entry.kind == first.kind]
    taken = {first}
    for entry in sorted(alike, key=lambda each: abs(each.size / each.rows - row_size)):
        if rows + entry.rows > most:
            continue
        pairs = list(zip(longest, entry.inputs, strict=True))
        longer = [tuple(map(max, shape, array.shape[1:])) for shape, array in pairs]
        filled = sum(
            prod(shape) * array.itemsize for shape, (_, array) in zip(longer, pairs, strict=True)
        )
        if filled * (rows + entry.rows) > _MOST_FILLED_UP * (size + entry.size):
            continue
        rows += entry.rows
        size += entry.size
        longest = longer
        taken.add(entry)
        if rows == most:
            break
    left = [entry for entry in looked_through if entry not in taken]
    return (
        [entry for entry in looked_through if entry in taken],
        left + entries[_LOOKED_THROUGH_FOR_LENGTH:],
    )


def _pieces(rows: int, first: int, size: int) -> Iterator[tuple[int, int]]:
    start = 0
    stop = min(rows, first) or min(rows, size)
    while start < rows:
        yield start, stop
        start, stop = stop, min(rows, stop + size)


def rows_of(inputs: Sequence[np.ndarray], queue: BatchQueue) -> int:
    """The size of a request: the first dimension that all its inputs share.

    Raises:
        InvalidArgument: they have none in common, or it is too large for a batch.
        FailedPrecondition: two inputs are the same tensor, whose rows would be twice as many.
    """
    if not inputs:
        raise InvalidArgument("Batching Run() must have at least one input tensor")
    rows = -1
    for array in inputs:
        if not array.ndim:
            raise InvalidArgument("Batching Run() input tensors must have at least one dimension")
        size = array.shape[0]
        if rows < 0:
            rows = size
        elif size != rows:
            raise InvalidArgument("Batching Run() input tensors must have equal 0th-dimension size")
    most = queue.options.max_batch_size
    if rows > most:
        raise InvalidArgument(f"Task size {rows} is larger than maximum input batch size {most}")
    if queue.feeds_twice:
        raise FailedPrecondition(
            "Batched output tensor's 0th dimension does not equal the sum of the 0th "
            "dimension sizes of the input tensors"
        )
    return rows


def fits(inputs: Sequence[np.ndarray], queue: BatchQueue) -> bool:
    """Whether a request can be batched as it is, where nobody asked that it must be."""
    if queue.is_unfit or queue.feeds_twice or not inputs or not inputs[0].ndim:
        return False
    rows: int = inputs[0].shape[0]
    if not 0 < rows <= queue.options.max_batch_size:
        return False
    for array in inputs:
        # So many dimensions as a `DeepArray` has cannot be joined.
        if not array.ndim or array.shape[0] != rows or type(array) is DeepArray:
            return False
    return True
