"""One version's way to a loaded servable: attempts on a load thread, pauses on the loop.

The job belongs to the loop; only `load` and `unload` of the loader run elsewhere.
A pause holds no thread, and a job that is no longer wanted ends as soon as no
attempt is running.
"""

import logging
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Generic, Protocol, TypeVar

from salver.core.events import EventBus, LoadFailed, LoadRetried, RetriesCancelled, RetriesExhausted
from salver.core.servable import ServableId
from salver.errors import Cancelled, InternalError, ServingError

_logger = logging.getLogger(__name__)

S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)


class LoaderOf(Protocol[S_co]):
    """`salver.core.servable.Loader`, for any kind of servable."""

    def load(self) -> S_co:
        """See `Loader.load`."""

    def unload(self) -> None:
        """See `Loader.unload`."""


@dataclass(frozen=True, slots=True)
class RetryOptions:
    """How often a load is tried, and how long it rests in between."""

    max_retries: int = 5
    """Further attempts after the first; negative stands for no limit."""
    interval_s: float = 60.0
    """From the end of one attempt to the beginning of the next; negative stands for no pause."""


class Timer(Protocol):
    """A call that waits for its time."""

    def cancel(self) -> None:
        """Forget it."""


class Loop(Protocol):
    """The part of an asyncio loop that versions need."""

    def call_soon(self, callback: Callable[[], None]) -> object:
        """Call in the next turn."""

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> object:
        """The same, from any thread."""

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call after so many seconds."""


class Workers(Protocol):
    """Threads that do what they are given."""

    def submit(self, work: Callable[[], None], /) -> Future[None]:
        """Have it done; the future can be cancelled until it begins."""


@dataclass(frozen=True, slots=True)
class LoadThreads:
    """Where the work of a job runs."""

    loop: Loop
    executor: Workers


class LoadJob(Generic[S]):
    """Loads one version. `on_loaded` or `on_failed` is called exactly once, on the loop."""

    def __init__(
        self,
        id: ServableId,
        loader: LoaderOf[S],
        retry: RetryOptions,
        threads: LoadThreads,
        events: EventBus,
    ) -> None:
        self._id = id
        self._loader = loader
        self._retry = retry
        self._threads = threads
        self._events = events
        self._attempts = 0
        self._error: ServingError | None = None
        self._attempt: Future[None] | None = None
        self._pause: Timer | None = None
        self._cancelled = False

    @property
    def pausing(self) -> bool:
        """Whether the job rests between two attempts."""
        return self._pause is not None

    def start(
        self,
        on_loading: Callable[[], None],
        on_loaded: Callable[[S], None],
        on_failed: Callable[[ServingError], None],
    ) -> None:
        """Queue for a load thread. `on_loading` is called once, when the first attempt begins."""
        self._on_loading = on_loading
        self._on_loaded = on_loaded
        self._on_failed = on_failed
        self._submit()

    def cancel(self) -> None:
        """The version is no longer wanted: end now, or when the running attempt returns.

        After a failed attempt the job ends with that attempt's error, else with CANCELLED.
        """
        self._cancelled = True
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        elif self._attempt is None or not self._attempt.cancel():
            return
        if self._error is not None:
            self._events.publish(RetriesCancelled(self._id))
        self._on_failed(self._error or _cancelled())

    def _submit(self) -> None:
        self._attempt = self._threads.executor.submit(self._run_attempt)

    def _run_attempt(self) -> None:
        """One attempt; on a load thread."""
        call_on_loop = self._threads.loop.call_soon_threadsafe
        if self._error is None:
            call_on_loop(self._on_loading)
        try:
            servable = self._loader.load()
        except ServingError as error:
            call_on_loop(partial(self._attempt_failed, _kept(error)))
        except BaseException as cause:  # Even sys.exit() in a loader ends nothing but this load.
            _logger.exception("Loading servable: %s raised an unexpected error", self._id)
            unexpected = InternalError(f"{type(cause).__name__}: {cause}")
            call_on_loop(partial(self._attempt_failed, unexpected))
        else:
            call_on_loop(partial(self._attempt_succeeded, servable))

    def _attempt_succeeded(self, servable: S) -> None:
        self._attempt = None
        if not self._cancelled:
            self._on_loaded(servable)
            return
        self._threads.executor.submit(self._run_unload)

    def _run_unload(self) -> None:
        """Free what a cancelled job has loaded; on a load thread."""
        unload(self._id, self._loader)
        self._threads.loop.call_soon_threadsafe(partial(self._on_failed, _cancelled()))

    def _attempt_failed(self, error: ServingError) -> None:
        self._attempt = None
        self._attempts += 1
        self._error = error
        self._events.publish(LoadFailed(self._id, self._attempts, error))
        if self._cancelled:
            self._events.publish(RetriesCancelled(self._id))
            self._on_failed(error)
        elif 0 <= self._retry.max_retries < self._attempts:
            self._events.publish(RetriesExhausted(self._id, self._retry.max_retries))
            self._on_failed(error)
        else:
            delay_s = max(self._retry.interval_s, 0.0)
            self._pause = self._threads.loop.call_later(delay_s, self._try_again)

    def _try_again(self) -> None:
        self._pause = None
        self._events.publish(LoadRetried(self._id, self._attempts))
        self._submit()


def unload(id: ServableId, loader: LoaderOf[S]) -> None:
    """Call `loader.unload`, from any thread; what it raises against its promise is logged."""
    try:
        loader.unload()
    except Exception:
        _logger.exception("Unloading servable: %s raised an error", id)


def _cancelled() -> Cancelled:
    return Cancelled("Loading of servable cancelled")


def _kept(error: ServingError) -> ServingError:
    """The error without its frames, which would hold half-loaded models for ever."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
