import threading
from collections.abc import Sequence

import numpy as np
import pytest

from salver.core.data_type import DataType
from salver.core.signature import Signature, TensorSpec
from salver.errors import InvalidArgument
from salver.execution.prepared import PreparedServable
from salver.execution.thread_choice import (
    Choice,
    Pace,
    Play,
    Run,
    ThreadChoosingLoader,
    best_threads,
    candidates,
    dearest_run,
    measured_pace,
)

LONG_S = 0.01
X, Y = TensorSpec("x:0", DataType.FLOAT, (-1,)), TensorSpec("y:0", DataType.FLOAT, (-1,))


class CountedProgram:
    """Takes as long as the number that comes in says; knows who calls it."""

    def __init__(self) -> None:
        self.callers: set[int] = set()

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        if inputs[0][0] < 0:
            raise InvalidArgument("less than nothing")
        self.callers.add(threading.get_ident())
        threading.Event().wait(float(inputs[0][0]))
        return [inputs[0]]


class CountedServable:
    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.signature_def_map = b""
        self.signatures = {"s": Signature("s", {"x": X}, {"y": Y})}
        self.counted = CountedProgram()

    def program(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> CountedProgram:
        assert (feeds, fetches) == (("x:0",), ("y:0",))
        return self.counted


class CountedLoader:
    def __init__(self, threads: int, log: list[str]) -> None:
        self._threads = threads
        self._log = log

    def load(self) -> CountedServable:
        self._log.append(f"load {self._threads}")
        return CountedServable(self._threads)

    def unload(self) -> None:
        self._log.append(f"unload {self._threads}")


def play(*times_s: float) -> Play:
    def player(servable: PreparedServable) -> None:
        for time_s in times_s:
            servable.signatures["s"].executable.program.run([np.array([time_s], np.float32)])

    return player


PACES = {1: Pace(0.010, 200.0), 2: Pace(0.006, 198.0), 4: Pace(0.004, 120.0)}


def chooser(
    log: list[str], choices: dict[str, Choice], run_s: float | None
) -> ThreadChoosingLoader:
    """For a version whose dearest run takes so long; None: it has no warm-up requests."""

    def observe(servable: object, _: Play) -> Run | None:
        if run_s is not None and run_s < 0:
            raise InvalidArgument("less than nothing")
        return None if run_s is None else Run(("x:0",), ("y:0",), [], run_s)

    def measure(servable: object, run: Run, cores: int) -> Pace:
        assert isinstance(servable, CountedServable)
        assert cores == 4
        return PACES[servable.threads]

    return ThreadChoosingLoader(
        "m", lambda threads: CountedLoader(threads, log), play(), 4, choices, observe, measure
    )


@pytest.mark.parametrize(
    ("paces", "best"),
    [
        ({1: Pace(0.010, 200.0), 2: Pace(0.011, 120.0)}, 1),
        ({1: Pace(0.010, 200.0), 2: Pace(0.006, 196.0)}, 2),
        ({1: Pace(0.010, 200.0), 2: Pace(0.0095, 230.0)}, 2),
        ({1: Pace(0.010, 200.0), 2: Pace(0.0095, 202.0)}, 1),
        ({1: Pace(0.010, 200.0), 2: Pace(0.006, 196.0), 4: Pace(0.003, 150.0)}, 2),
        ({1: Pace(0.010, 200.0)}, 1),
    ],
)
def test_of_those_that_get_most_done_the_quickest_alone_is_best(
    paces: dict[int, Pace], best: int
) -> None:
    assert best_threads(paces) == best


@pytest.mark.parametrize(
    ("cores", "tried"),
    [(1, [1]), (2, [1, 2]), (4, [1, 2, 4]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])],
)
def test_doublings_and_all_cores_are_tried(cores: int, tried: list[int]) -> None:
    assert candidates(cores) == tried


def test_the_dearest_request_of_the_warm_up_is_taken() -> None:
    run = dearest_run(CountedServable(1), play(0.0, LONG_S, 0.0))
    assert run is not None
    assert run.inputs[0].tolist() == [np.float32(LONG_S)]
    assert run.elapsed_s >= 0.9 * LONG_S
    assert dearest_run(CountedServable(1), play()) is None


def test_all_cores_have_a_caller_while_it_is_measured() -> None:
    servable = CountedServable(1)
    run = Run(("x:0",), ("y:0",), [np.array([LONG_S], np.float32)], LONG_S)
    pace = measured_pace(servable, run, 3)
    assert len(servable.counted.callers) == 3
    assert pace.single_s >= 0.9 * LONG_S
    assert pace.runs_per_s > 1 / pace.single_s
    with pytest.raises(InvalidArgument):
        measured_pace(servable, Run(("x:0",), ("y:0",), [np.array([-1.0])], 0.0), 3)


def test_a_version_is_loaded_with_what_is_best_and_the_next_one_at_once() -> None:
    log: list[str] = []
    choices: dict[str, Choice] = {}
    loader = chooser(log, choices, LONG_S)
    servable = loader.load()
    assert isinstance(servable, CountedServable)
    assert servable.threads == choices["m"].threads == 2
    assert log == ["load 1", "unload 1", "load 2", "unload 2", "load 4", "unload 4", "load 2"]
    loader.unload()
    assert log[-1] == "unload 2"

    # As long as its runs take about as long as those of the version before.
    del log[:]
    chooser(log, choices, PACES[2].single_s).load()
    assert log == ["load 2"]
    del log[:]
    chooser(log, choices, 5 * PACES[2].single_s).load()
    assert log[0] == "load 2"
    assert len(log) > 1


def test_without_something_to_measure_there_is_one_thread() -> None:
    for run_s in (None, 0.0, -1.0):
        log: list[str] = []
        chooser(log, {}, run_s).load()
        assert log == ["load 1"]
