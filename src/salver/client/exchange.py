"""One call as a decision procedure: what to send, what to do with an error, when to give up.

An operation is a generator that yields calls and receives their answers, and knows nothing of
sockets, threads and loops. The clients drive it: one blocks, the other awaits.
"""

import random
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from salver.client.options import Retries, RetryBudget
from salver.errors import Code, DeadlineExceeded, ServingError

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Call:
    """One message to the server."""

    path: str
    """The method of gRPC, or the path of REST."""
    body: bytes | None
    """The message; None for a GET of REST."""
    may_repeat: bool = True
    """Whether it does no harm to send it twice."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, when all went well."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    """Of REST; names in lower case."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A step of an operation: send the call, come back with its answer or a ServingError."""

    call: Call
    timeout_s: float | None


@dataclass(frozen=True, slots=True)
class Pause:
    """A step of an operation: let so much time go by."""

    seconds: float


Operation = Generator[Call, Answer, Result]
"""What a protocol makes of a request: calls one after the other, and the result."""
Steps = Generator[Ask | Pause, Answer | None, Result]
"""An operation with its deadline and its retries, for a client to carry out."""


def steps_of(
    operation: Operation[Result],
    retries: Retries,
    budget: RetryBudget,
    timeout_s: float | None,
    clock: Callable[[], float],
    chance: Callable[[], float] = random.random,
) -> Steps[Result]:
    """The steps of an operation, each call made again where that is safe and of use.

    `clock` gives seconds, `chance` numbers from 0 to 1.

    Raises:
        DeadlineExceeded: from the steps, if the time is over between two calls.
        ServingError: the server's, or that it cannot be reached.
    """
    deadline = None if timeout_s is None else clock() + timeout_s
    try:
        call = next(operation)
        while True:
            try:
                answer = yield from _answered(call, retries, budget, deadline, clock, chance)
            except ServingError as error:
                call = operation.throw(error)
            else:
                call = operation.send(answer)
    except StopIteration as end:
        result: Result = end.value
        return result


def _answered(
    call: Call,
    retries: Retries,
    budget: RetryBudget,
    deadline: float | None,
    clock: Callable[[], float],
    chance: Callable[[], float],
) -> Steps[Answer]:
    attempt = 1
    while True:
        left = None if deadline is None else deadline - clock()
        if left is not None and left <= 0:
            raise DeadlineExceeded(f"the time for {call.path} is over")
        try:
            answer = yield Ask(call, left)
        except ServingError as error:
            attempt += 1
            if error.code is not Code.UNAVAILABLE or not budget.failed():
                raise
            if not call.may_repeat or attempt > retries.attempts:
                raise
            pause = retries.longest_before(attempt) * chance()
            # A pause beyond the deadline would hide why the call failed.
            if deadline is not None and clock() + pause >= deadline:
                raise
            yield Pause(pause)
        else:
            assert answer is not None
            budget.succeeded()
            return answer
