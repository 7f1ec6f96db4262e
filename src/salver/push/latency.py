"""How long two versions take for the same requests, measured side by side."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from salver.inspection.opening import OpenModel
from salver.push.question import Question

_FIRST_RUNS = 3
"""Of each request: they optimise graphs and fill caches."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Medians over all rounds, in milliseconds."""

    median_ms: float
    reference_ms: float
    runs: int
    """Of each of the two."""

    @property
    def ratio(self) -> float:
        """How many times what the reference took."""
        return self.median_ms / self.reference_ms


def measured(
    model: OpenModel,
    reference: OpenModel,
    questions: Sequence[Question],
    *,
    rounds: int,
    limit_s: float,
    on_run: Callable[[int], None],
) -> Latency:
    """Run the same requests on both in turn, so that what else the machine does meets both.

    Args:
        model: the one to judge.
        reference: what it is compared with.
        questions: the requests, in turn.
        rounds: so many runs of each.
        limit_s: fewer, once so many seconds are over.
        on_run: told of each run of both.

    Raises:
        ServingError: one of them cannot answer.
    """
    for question in questions[:rounds]:
        for each in (model, reference):
            for _ in range(_FIRST_RUNS):
                each.run(question.inputs, question.signature, question.outputs)
    times: dict[bool, list[float]] = {True: [], False: []}
    ends_at = time.monotonic() + limit_s
    for number in range(rounds):
        question = questions[number % len(questions)]
        # Whoever comes second finds warmer caches: each does as often as the other.
        for is_new in (True, False) if number % 2 else (False, True):
            each = model if is_new else reference
            began = time.perf_counter()
            each.run(question.inputs, question.signature, question.outputs)
            times[is_new].append(time.perf_counter() - began)
        on_run(1)
        if time.monotonic() > ends_at:
            break
    return Latency(1e3 * median(times[True]), 1e3 * median(times[False]), len(times[True]))
