import threading
from collections.abc import Sequence

import numpy as np
import pytest

from salver.core.servable import Program, ServableId
from salver.errors import InvalidArgument
from salver.telemetry.tracing import Trace, TracedProgram

ID = ServableId("m", 2)
INPUTS = [np.arange(3)]


class Doubling:
    """A program that has nothing to report."""

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [2 * array for array in inputs]


class Reporting(Doubling):
    """One that has."""

    def run_traced(self, inputs: Sequence[np.ndarray]) -> tuple[list[np.ndarray], bytes]:
        return self.run(inputs), b"report"


class Failing:
    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        raise InvalidArgument("wrong")


def traced(program: Program, trace: Trace, with_operations: bool = True) -> TracedProgram:
    return TracedProgram(program, ID, "s", trace, with_operations)


@pytest.mark.parametrize(
    ("program", "with_operations", "report"),
    [
        pytest.param(Doubling(), True, b"", id="nothing to report"),
        pytest.param(Reporting(), True, b"report", id="a report"),
        pytest.param(Reporting(), False, b"", id="not asked for"),
    ],
)
def test_a_run_is_told_with_its_report(
    program: Program, with_operations: bool, report: bytes
) -> None:
    trace = Trace()
    (output,) = traced(program, trace, with_operations).run(INPUTS)
    assert output.tolist() == [0, 2, 4]
    (run,) = trace.runs
    assert (run.id, run.signature, run.report, run.failed) == (ID, "s", report, False)
    assert run.started_ns <= run.finished_ns
    assert run.thread == "event loop"


def test_a_run_that_fails_is_told_and_fails() -> None:
    trace = Trace()
    with pytest.raises(InvalidArgument):
        traced(Failing(), trace).run(INPUTS)
    (run,) = trace.runs
    assert run.failed


def test_runs_of_other_threads_have_their_name() -> None:
    trace = Trace()
    thread = threading.Thread(target=traced(Doubling(), trace).run, args=(INPUTS,), name="w-7")
    thread.start()
    thread.join()
    assert [run.thread for run in trace.runs] == ["w-7"]


def test_no_more_is_kept_than_was_agreed() -> None:
    trace = Trace(max_events=3)
    program = traced(Doubling(), trace)
    for _ in range(5):
        program.run(INPUTS)
    assert len(trace.runs) == 3
    assert trace.lost == 2
