"""A push from its first check to the answer of the server."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from salver.backends.registry import Backends
from salver.errors import FailedPrecondition, InvalidArgument, NotFound, ServingError
from salver.inspection.finding import told
from salver.push.checking import Checking, Refused
from salver.push.destination import Destination, destination_of
from salver.push.interruption import Interruption
from salver.push.model_folder import ModelFolder, found_model
from salver.push.order import PushOrder
from salver.push.progress import Progress
from salver.push.question import Question
from salver.push.reference import Reference
from salver.push.report import Exit, Report, StillThere
from salver.push.served_model import AVAILABLE, ServedModel, asked
from salver.sources.uri import redacted


def push(
    order: PushOrder,
    progress: Progress,
    interruption: Interruption,
    clock: Callable[[], float] = time.time,
) -> Report:
    """Check a model, publish it as the newest version, and see that it is served.

    Never raises for what a user or a server can do wrong: the report tells.

    Raises:
        Interrupted: a signal arrived; the destination is as it was.
    """
    report = Report(redacted(order.model), redacted(order.base_path))
    began = time.monotonic()
    try:
        _Push(order, report, progress, interruption, clock).run()
    except Refused as refused:
        report.error, report.exit_code = str(refused), Exit.REFUSED
    except _Failed as failed:
        report.error, report.exit_code = _shown(failed.error, order), failed.exit_code
    finally:
        report.seconds = time.monotonic() - began
    return report


def _shown(error: ServingError, order: PushOrder) -> str:
    return redacted(redacted(told(error), order.base_path), order.model)


def _require_files(order: PushOrder) -> None:
    """Tell before the work what would end it.

    Raises:
        ServingError: a file that is not there.
    """
    if order.expected and not order.requests:
        raise InvalidArgument("Expected answers need the requests, too")
    for path in filter(None, (order.requests, order.expected)):
        if not os.path.exists(path):
            raise NotFound(f"{path}: there is no such file")


class _Failed(Exception):
    def __init__(self, exit_code: Exit, error: ServingError) -> None:
        super().__init__(error.message)
        self.exit_code = exit_code
        self.error = error


@contextmanager
def _ending_with(exit_code: Exit) -> Iterator[None]:
    """Within, a `ServingError` ends the push with this exit code."""
    try:
        yield
    except StillThere as error:
        raise _Failed(Exit.NOT_TAKEN_BACK, error) from error
    except ServingError as error:
        raise _Failed(exit_code, error) from error


class _Push:
    def __init__(
        self,
        order: PushOrder,
        report: Report,
        progress: Progress,
        interruption: Interruption,
        clock: Callable[[], float],
    ) -> None:
        self._order = order
        self._report = report
        self._progress = progress
        self._interruption = interruption
        self._clock = clock
        self._backends = Backends()

    def run(self) -> None:
        order = self._order
        checking = Checking(order, self._report, self._progress, self._backends)
        with ExitStack() as stack:
            with _ending_with(Exit.WRONG_USE):
                destination = destination_of(order.base_path, self._backends, self._clock)
                _require_files(order)
                checking.check_blessings()
                cache = order.open_options.model_cache_dir
                model = stack.enter_context(found_model(order.model, self._backends, cache))
                served = None
                if order.server is not None:
                    served = stack.enter_context(asked(order.server))
            self._report.files, self._report.bytes = len(model.files), model.size
            with _ending_with(Exit.NOT_WRITTEN):
                destination.names()
                if served is not None:
                    served.version()
            self._check(checking, model, served)
            if not order.check_only:
                with _ending_with(Exit.NOT_WRITTEN):
                    self._publish(destination, model, served, next(iter(checking.questions), None))

    def _check(self, checking: Checking, model: ModelFolder, served: ServedModel | None) -> None:
        order = self._order
        reference = Reference(
            order.base_path, order.open_options, self._backends, order.run_limit_s, served
        )
        try:
            with _ending_with(Exit.WRONG_USE):
                checking.check_model(model, reference)
        finally:
            reference.close()

    def _publish(
        self,
        destination: Destination,
        model: ModelFolder,
        served: ServedModel | None,
        question: Question | None,
    ) -> None:
        self._report.swept = destination.sweep()
        # From here on a signal takes effect only where nothing is left by halves.
        with self._interruption.held():
            self._progress.begin("Publishing", model.size, "B")
            try:
                version = destination.publish(model, self._interruption, self._progress.advance)
            finally:
                self._progress.end()
            try:
                self._report.version = version
                self._progress.tell("published", f"as version {version}")
                if served is not None:
                    self._await(served, version, question)
            except BaseException as error:
                self._take_back(destination, version)
                if isinstance(error, ServingError):
                    raise _Failed(Exit.TAKEN_BACK, error) from error
                raise

    def _await(self, served: ServedModel, version: int, question: Question | None) -> None:
        self._report.server = served.wait_until_served(version, self._interruption)
        if self._report.server.startswith(AVAILABLE):
            self._report.server += f", {served.answers(version, question)}"
        self._progress.tell("server", self._report.server)

    def _take_back(self, destination: Destination, version: int) -> None:
        try:
            destination.take_back(version)
        except ServingError as error:
            raise _Failed(
                Exit.NOT_TAKEN_BACK,
                FailedPrecondition(f"Version {version} is still there: {error.message}"),
            ) from error
        self._progress.tell("taken back", f"version {version} is gone again")
