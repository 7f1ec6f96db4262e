"""The client to await."""

# ruff: noqa: ASYNC109 - the deadline goes to the server, too, and covers the retries.

import asyncio
import time
from collections.abc import Collection, Mapping
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt

from salver.client.address import address_of
from salver.client.connecting import connected_async, protocol_of
from salver.client.exchange import Answer, Operation, Pause, steps_of
from salver.client.model_choice import ModelChoice
from salver.client.options import Retries, Tls
from salver.client.results import ModelMetadata, Prediction, VersionStatus
from salver.errors import ServingError

Result = TypeVar("Result")


class AsyncClient:
    """Calls one server. On one loop; for an `async with` block, or until `close`."""

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
        self._connection = connected_async(self._address, tls, api_key)

    def __repr__(self) -> str:
        return f"AsyncClient({str(self._address)!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Give the connections back."""
        await self._connection.close()

    async def predict(
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
        return await self._run(self._protocol.predict(choice, arrays, outputs or ()), timeout)

    async def metadata(
        self,
        model: str,
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> ModelMetadata:
        """The signatures of a version."""
        return await self._run(self._protocol.metadata(ModelChoice(model, version, label)), timeout)

    async def status(
        self, model: str, *, version: int | None = None, timeout: float | None = None
    ) -> tuple[VersionStatus, ...]:
        """In which state the versions are, the highest first."""
        return await self._run(self._protocol.status(ModelChoice(model, version)), timeout)

    async def _run(self, operation: Operation[Result], timeout: float | None) -> Result:
        limit = self._timeout if timeout is None else timeout
        steps = steps_of(operation, self._retries, limit, time.monotonic)
        answer: Answer | None = None
        try:
            step = next(steps)
            while True:
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                    answer = None
                else:
                    try:
                        answer = await self._connection.ask(step)
                    except ServingError as error:
                        step = steps.throw(error)
                        continue
                step = steps.send(answer)
        except StopIteration as end:
            result: Result = end.value
            return result
