"""The client that blocks."""

import threading
import time
from collections.abc import Collection, Mapping
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt

from salver.client.address import address_of
from salver.client.connecting import connected, protocol_of
from salver.client.exchange import Answer, Operation, Pause, steps_of
from salver.client.model_choice import ModelChoice
from salver.client.options import Retries, Tls
from salver.client.results import ModelMetadata, Prediction, VersionStatus
from salver.errors import ServingError

Result = TypeVar("Result")


class Client:
    """Calls one server. From any thread; for a `with` block, or until `close`."""

    def __init__(
        self,
        address: str,
        *,
        timeout: float | None = 60.0,
        tls: Tls | None = None,
        api_key: str | None = None,
        retries: Retries = Retries(),  # noqa: B008 - it does not change
    ) -> None:
        self._address = address_of(address)
        self._timeout = timeout
        self._retries = retries
        self._protocol = protocol_of(self._address)
        self._connection = connected(self._address, tls, api_key)
        self._closed = threading.Event()

    def __repr__(self) -> str:
        return f"Client({str(self._address)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._closed.set()
        self._connection.close()

    def predict(
        self,
        model: str,
        inputs: Mapping[str, npt.ArrayLike],
        *,
        version: int | None = None,
        label: str | None = None,
        signature: str | None = None,
        outputs: Collection[str] | None = None,
        timeout: float | None = None,
    ) -> Prediction:
        """Run a signature on named arrays."""
        choice = ModelChoice(model, version, label, signature or "")
        arrays = {name: np.asarray(value) for name, value in inputs.items()}
        return self._run(self._protocol.predict(choice, arrays, outputs or ()), timeout)

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

    def _run(self, operation: Operation[Result], timeout: float | None) -> Result:
        limit = self._timeout if timeout is None else timeout
        steps = steps_of(operation, self._retries, limit, time.monotonic)
        answer: Answer | None = None
        try:
            step = next(steps)
            while True:
                if isinstance(step, Pause):
                    self._closed.wait(step.seconds)
                    answer = None
                else:
                    try:
                        answer = self._connection.ask(step)
                    except ServingError as error:
                        step = steps.throw(error)
                        continue
                step = steps.send(answer)
        except StopIteration as end:
            result: Result = end.value
            return result
