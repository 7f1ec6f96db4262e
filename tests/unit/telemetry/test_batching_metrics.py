import logging
from collections.abc import Sequence

import numpy as np
import pytest

from salver.core.servable import Program
from salver.execution.batch_options import BatchOptions
from salver.execution.batch_queue import BatchQueue
from salver.execution.batch_request import Request
from salver.execution.batch_run import BatchRun
from salver.execution.prepared import Executable
from salver.telemetry.batching_lines import BatchingLines
from salver.telemetry.batching_metrics import BatchingMetrics
from tests.batching import AUTOMATIC, Echo

PREFIX = ":tensorflow:serving:batching_session:"


class Owner:
    is_stopping = False

    def ended(self, run: BatchRun) -> None:
        raise AssertionError("never finished here")


def run_of(
    requests: Sequence[Sequence[float] | Sequence[Sequence[float]]],
    options: BatchOptions | None = None,
    arrivals: Sequence[float] = (),
    taken_at: float = 0.0,
    name: str = "m",
    program: Program | None = None,
) -> BatchRun:
    """A batch of echo requests that has been computed."""
    queue = BatchQueue(Executable(program or Echo()), options or BatchOptions(), name=name)
    for place, rows in enumerate(requests):
        array = np.array(rows, np.float32)
        request = Request(queue, [array], len(array), lambda *_: None, lambda: None)
        request.enqueue(arrivals[place] if arrivals else 0.0)
    run = BatchRun(Owner(), queue.take(), taken_at)
    run.compute()
    return run


def page_of(metrics: BatchingMetrics) -> list[str]:
    return [line for metric in metrics.metrics() for line in metric.lines()]


def test_a_server_that_batched_nothing_has_none_of_these_metrics() -> None:
    assert page_of(BatchingMetrics()) == []


def test_each_request_has_waited_since_it_came_itself() -> None:
    metrics = BatchingMetrics()
    metrics.batch_ran(run_of([[1], [2], [3]], arrivals=[5.0, 5.9, 6.0], taken_at=6.0))
    metrics.came(1, 1)
    page = page_of(metrics)
    assert f"# TYPE {PREFIX}queuing_latency histogram" in page
    assert f'{PREFIX}queuing_latency_sum{{thread_pool_name=""}} 1.1e+06' in page
    assert f'{PREFIX}queuing_latency_count{{thread_pool_name=""}} 3' in page
    assert f'{PREFIX}queuing_latency_bucket{{thread_pool_name="",le="100"}} 1' in page
    assert sum(line.startswith(f"{PREFIX}queuing_latency_bucket") for line in page) == 53


def test_a_request_counts_once_for_each_input_with_all_its_rows_however_it_is_run() -> None:
    metrics = BatchingMetrics()
    splitting = BatchOptions(
        max_batch_size=10, max_execution_batch_size=4, enable_large_batch_splitting=True
    )
    metrics.came(2, 9)
    metrics.came(1, 3)
    metrics.batch_ran(run_of([[1] * 9], splitting))
    page = page_of(metrics)
    assert f"{PREFIX}input_batch_size_count{{}} 3" in page
    assert f"{PREFIX}input_batch_size_sum{{}} 21" in page
    assert f'{PREFIX}input_batch_size_bucket{{le="4"}} 1' in page
    assert sum(line.startswith(f"{PREFIX}input_batch_size_bucket") for line in page) == 15


def test_rows_that_were_added_are_counted_under_the_size_that_was_run() -> None:
    metrics = BatchingMetrics()
    metrics.came(1, 1)
    options = BatchOptions(allowed_batch_sizes=(4, 8))
    metrics.batch_ran(run_of([[1], [2, 3]], options))
    metrics.batch_ran(run_of([[1] * 8], options))
    page = page_of(metrics)
    assert f'{PREFIX}padding_size_sum{{execution_batch_size="4"}} 1' in page
    assert f'{PREFIX}padding_size_count{{execution_batch_size="4"}} 1' in page
    assert f'{PREFIX}padding_size_sum{{execution_batch_size="8"}} 0' in page
    assert f"{PREFIX}processed_batch_size_sum{{}} 12" in page
    assert f"{PREFIX}processed_batch_size_count{{}} 2" in page
    assert f"{PREFIX}wrapped_run_count{{}} 2" in page


def test_every_run_of_the_model_is_counted_those_apart_too() -> None:
    metrics = BatchingMetrics()
    metrics.came(1, 1)
    metrics.batch_ran(run_of([[1], [-2], [3]]))
    metrics.batch_ran(run_of([[1], [[2, 2]], [3]]))
    page = page_of(metrics)
    assert f"{PREFIX}wrapped_run_count{{}} {1 + 3 + 2}" in page
    assert ':salver:batching:ran_apart_count{reason="failed"} 1' in page
    assert ':salver:batching:ran_apart_count{reason="unlike"} 1' in page


def test_a_request_that_ran_at_once_counts_like_a_batch_of_its_own() -> None:
    metrics = BatchingMetrics()
    two_inputs, one_input = metrics.alone(2, 8), metrics.alone(1, 8)
    two_inputs[5] += 2
    page_of(metrics)
    two_inputs[5] += 1
    one_input[1] += 1
    with pytest.raises(KeyError):
        one_input[9] += 1
    page = page_of(metrics)
    assert page_of(metrics) == page
    assert f'{PREFIX}queuing_latency_bucket{{thread_pool_name="",le="100"}} 4' in page
    assert f"{PREFIX}input_batch_size_count{{}} 7" in page
    assert f"{PREFIX}input_batch_size_sum{{}} 31" in page
    assert f"{PREFIX}processed_batch_size_sum{{}} 16" in page
    assert f"{PREFIX}wrapped_run_count{{}} 4" in page
    assert f'{PREFIX}padding_size_count{{execution_batch_size="5"}} 3' in page


def test_requests_that_were_joined_on_the_loop_count_like_a_batch() -> None:
    metrics = BatchingMetrics()
    joined = metrics.joined(2, 8)
    joined.requests[1] += 2
    joined.requests[3] += 1
    joined.batches[5] += 1
    joined.wait_s += 3 * 250e-6
    page = page_of(metrics)
    assert page_of(metrics) == page
    assert f'{PREFIX}queuing_latency_count{{thread_pool_name=""}} 3' in page
    assert f'{PREFIX}queuing_latency_sum{{thread_pool_name=""}} 750' in page
    assert f"{PREFIX}input_batch_size_count{{}} 6" in page
    assert f"{PREFIX}input_batch_size_sum{{}} 10" in page
    assert f"{PREFIX}processed_batch_size_sum{{}} 5" in page
    assert f"{PREFIX}wrapped_run_count{{}} 1" in page
    assert f'{PREFIX}padding_size_sum{{execution_batch_size="5"}} 0' in page


def test_refusals_are_counted() -> None:
    metrics = BatchingMetrics()
    metrics.came(1, 1)
    metrics.refused()
    assert ":salver:batching:refused_request_count{} 1" in page_of(metrics)


class Clock:
    """Shows what it is set to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_ran_apart_is_logged_once_a_minute_with_what_was_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    lines = BatchingLines(clock)
    failed = run_of([[1], [-2], [3]])
    text = (
        "m: a batch of 3 requests failed and was run apart, so that only those at fault get the "
        "error%s: INVALID_ARGUMENT: row -2"
    )
    with caplog.at_level(logging.INFO):
        for clock.now in (0.0, 30.0, 59.0, 60.0, 61.0, 200.0):
            lines.ran_apart(failed)
        lines.ran_apart(run_of([[1], [-2]], name="other"))
    assert caplog.messages[:3] == [
        text % "",
        text % " (and 2 more since the last such line)",
        text % " (and 1 more since the last such line)",
    ]
    assert [message[:8] for message in caplog.messages[3:]] == ["other: a"]
    assert {record.levelname for record in caplog.records} == {"WARNING"}


def test_the_end_of_automatic_batching_is_counted_and_logged_as_such(
    caplog: pytest.LogCaptureFixture,
) -> None:
    metrics = BatchingMetrics()
    metrics.came(1, 1)
    metrics.batch_ran(run_of([[1, 2], [3, 4]], AUTOMATIC, program=Sum()))
    assert caplog.messages == [
        "m: automatic batching ends for a signature, after 2 requests could not be run as one: "
        "FAILED_PRECONDITION: Batched output tensor has 0 dimensions"
    ]
    assert ':salver:batching:ran_apart_count{reason="unfit"} 1' in page_of(metrics)


class Sum:
    """Makes one number of all rows."""

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [np.asarray(inputs[0].sum())]


def test_requests_that_do_not_fit_together_are_logged_in_other_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        BatchingLines(Clock()).ran_apart(run_of([[1], [[2, 2]]]))
    assert caplog.messages == [
        "m: 2 requests in a batch differ in type or shape and were run apart"
    ]
