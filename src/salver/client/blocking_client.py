"""The client that blocks."""

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self, TypeVar

from google.protobuf.message import Message

from salver.client.chunks import chunks_of, joined, rows_of_chunks
from salver.client.connecting import connected
from salver.client.example_features import Example
from salver.client.exchange import Answer, Operation, Pause, Result
from salver.client.model_choice import ModelChoice
from salver.client.options import Retries, Tls
from salver.client.results import (
    Classification,
    ModelMetadata,
    Prediction,
    Regression,
    Task,
    VersionStatus,
)
from salver.client.session import session_of
from salver.client.typed_inputs import Inputs
from salver.errors import FailedPrecondition, InvalidArgument, ServingError

Batch = TypeVar("Batch")


class Client:
    """Calls one server. From any thread; for a `with` block, or until `close`.

    Each call raises a `ServingError` with the code and the text of the server;
    `Unavailable` also if it cannot be reached, `DeadlineExceeded` also if it does not answer in
    time, `InvalidArgument` also for what cannot be sent.
    """

    def __init__(
        self,
        address: str,
        *,
        timeout: float = 60.0,
        tls: Tls | None = None,
        api_key: str | None = None,
        api_key_header: str = "authorization",
        retries: Retries | None = None,
    ) -> None:
        """Prepare; nothing is sent before the first call.

        Args:
            address: `localhost:8500`, `grpc://` or `grpcs://` for gRPC, `http://` or `https://`
                for REST.
            timeout: seconds for a call, its retries included; `math.inf` for no limit.
            tls: certificates, for `grpcs://` and `https://`; by default those of this machine.
            api_key: sent with every call, as `Bearer` in the header `authorization`.
            api_key_header: another header for it, `x-api-key`; there it is sent as it is.
            retries: when a call is made again.

        Raises:
            InvalidArgument: one of them is wrong.
            FailedPrecondition: `salver[client]` is not installed.
        """
        self._session = session_of(
            address, timeout, tls, api_key, api_key_header, retries or Retries()
        )
        self._protocol = self._session.protocol
        self._connection = connected(self._session)
        self._closed = threading.Event()

    def __repr__(self) -> str:
        return f"Client({str(self._session.address)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._closed.set()
        self._connection.close()

    def predict(
        self,
        model: str,
        inputs: Inputs,
        *,
        version: int | None = None,
        label: str | None = None,
        signature: str | None = None,
        outputs: Collection[str] | None = None,
        timeout: float | None = None,
    ) -> Prediction:
        """Run a signature on named arrays.

        Args:
            model: its name.
            inputs: arrays, or numbers, text and lists of them, which become arrays of the
                declared type; as do arrays of another type, where nothing but digits is lost.
            version: of the model; without it and a label, the latest.
            label: of a version.
            signature: by default `serving_default`.
            outputs: the ones wanted; all of them by default.
            timeout: seconds; by default the client's.
        """
        choice = ModelChoice(model, version, label, signature or "")
        return self._run(self._protocol.predict(choice, inputs, outputs or ()), timeout)

    def predict_stream(
        self,
        model: str,
        batches: Iterable[Inputs],
        *,
        in_flight: int = 4,
        version: int | None = None,
        label: str | None = None,
        signature: str | None = None,
        outputs: Collection[str] | None = None,
        timeout: float | None = None,
    ) -> Iterator[Prediction]:
        """Predict batch after batch; the predictions come in the same order.

        A batch is taken from `batches` when there is room for it: `in_flight` of them are on
        their way at the most, or wait for whoever takes the predictions. The first error
        ends the stream. `timeout` is for each batch; for the rest see `predict`.
        """
        if in_flight < 1:
            raise InvalidArgument(f"in_flight is {in_flight}, and must be 1 at least")
        choice = ModelChoice(model, version, label, signature or "")
        names = outputs or ()

        def ask(inputs: Inputs) -> Prediction:
            return self._run(self._protocol.predict(choice, inputs, names), timeout)

        return _in_order(ask, iter(batches), in_flight)

    def predict_in_chunks(
        self,
        model: str,
        inputs: Inputs,
        *,
        rows: int = 128,
        in_flight: int = 4,
        version: int | None = None,
        label: str | None = None,
        signature: str | None = None,
        outputs: Collection[str] | None = None,
        timeout: float | None = None,
    ) -> Prediction:
        """Predict a large batch in parts of so many rows, and join the results.

        Inputs without dimensions go with every part. `timeout` is for each part; for the rest
        see `predict` and `predict_stream`.
        """
        parts = self.predict_stream(
            model,
            chunks_of(inputs, rows),
            in_flight=in_flight,
            version=version,
            label=label,
            signature=signature,
            outputs=outputs,
            timeout=timeout,
        )
        return joined(rows_of_chunks(inputs, rows), list(parts))

    def classify(
        self,
        model: str,
        examples: Sequence[Example],
        *,
        context: Example | None = None,
        version: int | None = None,
        label: str | None = None,
        signature: str | None = None,
        timeout: float | None = None,
    ) -> Classification:
        """Classes and scores of examples, see `predict`; `context` holds features of all."""
        choice = ModelChoice(model, version, label, signature or "")
        return self._run(self._protocol.classify(choice, examples, context), timeout)

    def regress(
        self,
        model: str,
        examples: Sequence[Example],
        *,
        context: Example | None = None,
        version: int | None = None,
        label: str | None = None,
        signature: str | None = None,
        timeout: float | None = None,
    ) -> Regression:
        """A value for each example, see `classify`."""
        choice = ModelChoice(model, version, label, signature or "")
        return self._run(self._protocol.regress(choice, examples, context), timeout)

    def multi_inference(
        self,
        model: str,
        tasks: Sequence[Task],
        examples: Sequence[Example],
        *,
        context: Example | None = None,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> tuple[Classification | Regression, ...]:
        """Several signatures on the same examples in one run, a result for each task; gRPC only."""
        choice = ModelChoice(model, version, label)
        operation = self._protocol.multi_inference(choice, tasks, examples, context)
        return self._run(operation, timeout)

    def metadata(
        self,
        model: str,
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> ModelMetadata:
        """The signatures of a version."""
        return self._run(self._protocol.metadata(ModelChoice(model, version, label)), timeout)

    def status(
        self, model: str, *, version: int | None = None, timeout: float | None = None
    ) -> tuple[VersionStatus, ...]:
        """In which state the versions are, the highest first."""
        return self._run(self._protocol.status(ModelChoice(model, version)), timeout)

    def models(self, *, timeout: float | None = None) -> tuple[str, ...]:
        """The names of the configured models.

        Raises:
            Unimplemented: the server does not tell them; TensorFlow Serving does not.
        """
        return self._run(self._protocol.models(), timeout)

    def reload_config(self, config: str | Message, *, timeout: float | None = None) -> None:
        """Have the server serve other models; gRPC only. Never made again.

        Args:
            config: a `ModelServerConfig`, as a message or its text.
            timeout: seconds. It returns when the models that are new are there.
        """
        self._run(self._protocol.reload_config(config), timeout)

    def _run(self, operation: Operation[Result], timeout: float | None) -> Result:
        steps = self._session.steps(operation, timeout)
        answer: Answer | None = None
        try:
            step = next(steps)
            while True:
                if isinstance(step, Pause):
                    self._closed.wait(step.seconds)
                    answer = None
                else:
                    if self._closed.is_set():
                        raise FailedPrecondition("the client is closed")
                    try:
                        answer = self._connection.ask(step)
                    except ServingError as error:
                        step = steps.throw(error)
                        continue
                step = steps.send(answer)
        except StopIteration as end:
            result: Result = end.value
            return result


def _in_order(
    ask: Callable[[Batch], Prediction], batches: Iterator[Batch], in_flight: int
) -> Iterator[Prediction]:
    waiting: deque[Future[Prediction]] = deque()
    with ThreadPoolExecutor(in_flight, "salver-client") as pool:
        try:
            for batch in batches:
                waiting.append(pool.submit(ask, batch))
                if len(waiting) == in_flight:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
