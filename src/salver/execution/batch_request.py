"""A request on its way through a queue of batches, whole or in pieces."""

from collections.abc import Callable, Sequence
from time import perf_counter

import numpy as np

from salver.errors import DeadlineExceeded, ResourceExhausted, ServingError
from salver.execution.batch_arrays import rejoined
from salver.execution.batch_queue import Batch, BatchQueue
from salver.execution.deadlines import Deadlines
from salver.execution.patience import Patience, SpareTime, gave_up_soon
from salver.execution.runner import OnDone, size_of, unexpected

Outputs = Sequence[np.ndarray]


class Request:
    """One request. Loop only, but for `inputs` and `is_unwanted`, which a worker reads."""

    __slots__ = (
        "_deadlines", "_due", "_elapsed_s", "_error", "_left_s", "_on_done", "_on_settled",
        "_patience", "_pieces", "_queue", "_spare", "_under_way", "added_at", "batch",
        "expected_wait_s", "inputs", "is_unwanted", "kind", "outputs", "rows", "size",
    )  # fmt: skip

    def __init__(
        self,
        queue: BatchQueue,
        inputs: Sequence[np.ndarray],
        rows: int,
        on_done: OnDone,
        on_settled: Callable[[], None],
    ) -> None:
        self.inputs = inputs
        self.rows = rows
        self.size = size_of(inputs)
        self.batch: Batch | None = None
        self.added_at = 0.0
        self.kind = 0
        self.outputs: Outputs | None = None
        self.is_unwanted = False
        """Nobody waits any more: a worker skips it."""
        self._queue = queue
        self._on_done: OnDone | None = on_done
        self._on_settled = on_settled
        self._deadlines: Deadlines | None = None
        self._due = 0
        self._patience: Patience | None = None
        self._spare: SpareTime | None = None
        self._left_s = 0.0
        self.expected_wait_s = 0.0
        """Seconds, before anything was known of how right that is; 0: not known, or none."""
        self._pieces: list[Piece] = []
        self._under_way = 1
        self._error: ServingError | None = None
        self._elapsed_s = 0.0

    def enqueue(self, now: float) -> None:
        """Join the queue, in as many pieces as it asks for.

        Raises:
            Unavailable: it is full.
        """
        cuts = list(self._queue.cut(self.rows))
        if len(cuts) == 1:
            self._queue.add(self, now)
            return
        self._pieces = [Piece(self, start, stop) for start, stop in cuts]
        self._under_way = len(cuts)
        for piece in self._pieces:
            self._queue.add(piece, now)

    @property
    def _entries(self) -> Sequence["Request | Piece"]:
        return self._pieces or (self,)

    def try_patience(self, patience: Patience) -> None:
        """Let it be known whether the caller stays, who is expected to wait for a while."""
        self._patience = patience

    def try_spare(self, spare: SpareTime, left_s: float) -> None:
        """Let it be known whether it is answered in the time that is left to it now."""
        self._spare = spare
        self._left_s = left_s

    def refusal(self, now: float) -> ServingError | None:
        """Why it is not worth running any more, if so. From any thread."""
        if self._patience is None:
            return None
        waited_s = now - self._entries[0].added_at
        return gave_up_soon(waited_s) if self._patience.is_hopeless(waited_s) else None

    def expire_at(self, deadline: float, deadlines: Deadlines) -> None:
        """Wait no longer than until `deadline`, loop time."""
        self._deadlines = deadlines
        self._due = deadlines.add(deadline, self)

    def expire(self) -> None:
        """See `Expires`."""
        error = expired(self._queue, all(entry.batch is not None for entry in self._entries))
        on_done = self._on_done
        try:
            if on_done is not None:
                self._on_done = None
                self._tell_spare(is_answered=False)
                on_done(None, error, 0.0)
        finally:
            self.abandon()

    def _tell_spare(self, *, is_answered: bool) -> None:
        if self._spare is not None:
            now = perf_counter()
            took_s = now - self._entries[0].added_at
            self._spare.learn(self._left_s, took_s, now, is_answered=is_answered)

    def abandon(self) -> None:
        """The caller is gone: it will hear no more, and what waits is not run."""
        if self._on_done is not None:
            self._tell_spare(is_answered=False)
            first = self._entries[0]
            if self._patience is not None and first.batch is not None:
                now = perf_counter()
                self._patience.gone(self.expected_wait_s, now - first.added_at, now)
        self._want_no_more()
        # In this order: a worker takes the inputs first and looks whether it may then.
        self.inputs = ()
        for entry in self._entries:
            entry.inputs = ()
            if entry.batch is not None:
                self._queue.remove(entry)
                self._settle_one()

    def _want_no_more(self) -> None:
        self.is_unwanted = True
        self._on_done = None
        if self._deadlines is not None:
            self._deadlines.remove(self._due, self)
            self._deadlines = None

    def deliver(
        self, outputs: Outputs | None, error: ServingError | None, elapsed_s: float
    ) -> None:
        """The outcome of the whole request, or the error of a piece."""
        on_done = self._on_done
        try:
            if on_done is not None:
                self._want_no_more()
                if outputs is not None:
                    self._tell_spare(is_answered=True)
                    if self._patience is not None:
                        now = perf_counter()
                        self._patience.stayed(now - self._entries[0].added_at, now)
                on_done(None if outputs is None else list(outputs), error, elapsed_s)
        finally:
            self._settle_one()

    def deliver_piece(self, error: ServingError | None, elapsed_s: float) -> None:
        """A piece has run; the last one, or the first that failed, answers the request."""
        self._elapsed_s += elapsed_s
        if error is not None:
            try:
                self.deliver(None, error, self._elapsed_s)
            finally:
                # What still waits would be run for nothing, and keeps others out.
                self.abandon()
        elif self._under_way > 1:
            self._settle_one()
        else:
            self._deliver_whole()

    def _deliver_whole(self) -> None:
        outputs: list[np.ndarray] | None = None
        error: ServingError | None = None
        if self._on_done is not None:
            parts = [piece.outputs for piece in self._pieces if piece.outputs is not None]
            try:
                outputs = rejoined(parts)
            except ServingError as failure:
                error = failure
            except Exception as failure:  # noqa: BLE001 - it must be answered
                error = unexpected(failure)
        self.deliver(outputs, error, self._elapsed_s)

    def _settle_one(self) -> None:
        self._under_way -= 1
        if not self._under_way:
            # They refer to their request: it would stay, with all its arrays, until a collection.
            self._pieces = []
            self._on_settled()


def expired(queue: BatchQueue, waits: bool) -> ServingError:
    """What a request hears whose time is up, while it waits in the queue or later."""
    if waits and queue.control is None:
        return ResourceExhausted("Run() timeout exceeded while waiting in batching queue")
    # Who did not ask for batching knows of no queue.
    return DeadlineExceeded("Timed out waiting for notification")


class Piece:
    """Some rows of a request that is too large for one batch."""

    __slots__ = ("_request", "added_at", "batch", "inputs", "kind", "outputs", "rows", "size")

    def __init__(self, request: Request, start: int, stop: int) -> None:
        self._request = request
        self.rows = stop - start
        self.inputs: Sequence[np.ndarray] = [array[start:stop] for array in request.inputs]
        self.size = size_of(self.inputs)
        self.batch: Batch | None = None
        self.added_at = 0.0
        self.kind = 0
        self.outputs: Outputs | None = None

    @property
    def is_unwanted(self) -> bool:
        return self._request.is_unwanted

    @property
    def expected_wait_s(self) -> float:
        return self._request.expected_wait_s

    def refusal(self, now: float) -> ServingError | None:
        """As of the whole request."""
        return self._request.refusal(now)

    def deliver(
        self, outputs: Outputs | None, error: ServingError | None, elapsed_s: float
    ) -> None:
        """The outcome of this piece."""
        self.outputs = outputs
        self._request.deliver_piece(error, elapsed_s)
