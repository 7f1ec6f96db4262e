"""The client to await."""

# ruff: noqa: ASYNC109 - the deadline goes to the server, too, and covers the retries.

import asyncio
from collections import deque
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Sequence,
)
from typing import Self, TypeVar

from google.protobuf.message import Message

from salver.client.chunks import chunks_of, joined, rows_of_chunks
from salver.client.connecting import connected_async
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


class AsyncClient:
    """`Client`, to await. On any loop; for an `async with` block, or until `close`.

    Each loop has connections of its own, and `close` closes those of the loop that awaits it.

    Every call can be cancelled.
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
        """See `Client`."""
        self._session = session_of(
            address, timeout, tls, api_key, api_key_header, retries or Retries()
        )
        self._protocol = self._session.protocol
        self._connection = connected_async(self._session)
        self._is_closed = False

    def __repr__(self) -> str:
        return f"AsyncClient({str(self._session.address)!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        self._is_closed = True
        await self._connection.close()

    async def predict(
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
        """See `Client.predict`."""
        choice = ModelChoice(model, version, label, signature or "")
        return await self._run(self._protocol.predict(choice, inputs, outputs or ()), timeout)

    def predict_stream(
        self,
        model: str,
        batches: Iterable[Inputs] | AsyncIterable[Inputs],
        *,
        in_flight: int = 4,
        version: int | None = None,
        label: str | None = None,
        signature: str | None = None,
        outputs: Collection[str] | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[Prediction]:
        """See `Client.predict_stream`; the batches may come from an asynchronous iterable."""
        if in_flight < 1:
            raise InvalidArgument(f"in_flight is {in_flight}, and must be 1 at least")
        choice = ModelChoice(model, version, label, signature or "")
        names = outputs or ()

        async def ask(inputs: Inputs) -> Prediction:
            return await self._run(self._protocol.predict(choice, inputs, names), timeout)

        return _in_order(ask, _each(batches), in_flight)

    async def predict_in_chunks(
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
        """See `Client.predict_in_chunks`."""
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
        return joined(rows_of_chunks(inputs, rows), [part async for part in parts])

    async def classify(
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
        """See `Client.classify`."""
        choice = ModelChoice(model, version, label, signature or "")
        return await self._run(self._protocol.classify(choice, examples, context), timeout)

    async def regress(
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
        """See `Client.regress`."""
        choice = ModelChoice(model, version, label, signature or "")
        return await self._run(self._protocol.regress(choice, examples, context), timeout)

    async def multi_inference(
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
        """See `Client.multi_inference`."""
        choice = ModelChoice(model, version, label)
        operation = self._protocol.multi_inference(choice, tasks, examples, context)
        return await self._run(operation, timeout)

    async def metadata(
        self,
        model: str,
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> ModelMetadata:
        """See `Client.metadata`."""
        return await self._run(self._protocol.metadata(ModelChoice(model, version, label)), timeout)

    async def status(
        self, model: str, *, version: int | None = None, timeout: float | None = None
    ) -> tuple[VersionStatus, ...]:
        """See `Client.status`."""
        return await self._run(self._protocol.status(ModelChoice(model, version)), timeout)

    async def models(self, *, timeout: float | None = None) -> tuple[str, ...]:
        """See `Client.models`."""
        return await self._run(self._protocol.models(), timeout)

    async def reload_config(self, config: str | Message, *, timeout: float | None = None) -> None:
        """See `Client.reload_config`."""
        await self._run(self._protocol.reload_config(config), timeout)

    async def _run(self, operation: Operation[Result], timeout: float | None) -> Result:
        steps = self._session.steps(operation, timeout)
        answer: Answer | None = None
        try:
            step = next(steps)
            while True:
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                    answer = None
                else:
                    if self._is_closed:
                        raise FailedPrecondition("the client is closed")
                    try:
                        answer = await self._connection.ask(step)
                    except ServingError as error:
                        step = steps.throw(error)
                        continue
                step = steps.send(answer)
        except StopIteration as end:
            result: Result = end.value
            return result


async def _in_order(
    ask: Callable[[Batch], Coroutine[None, None, Prediction]],
    batches: AsyncIterator[Batch],
    in_flight: int,
) -> AsyncIterator[Prediction]:
    waiting: deque[asyncio.Task[Prediction]] = deque()
    try:
        async for batch in batches:
            waiting.append(asyncio.create_task(ask(batch)))
            if len(waiting) == in_flight:
                yield await waiting.popleft()
        while waiting:
            yield await waiting.popleft()
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def _each(batches: Iterable[Batch] | AsyncIterable[Batch]) -> AsyncIterator[Batch]:
    if isinstance(batches, AsyncIterable):
        async for batch in batches:
            yield batch
    else:
        for batch in batches:
            yield batch
