"""Loaders in worker processes, with a model that does what models should not do."""

import gc
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np
import psutil
import pytest

from salver.core.servable import Program, ServableId
from salver.errors import FailedPrecondition, InternalError, NotFound, ServingError, Unavailable
from salver.execution.prepared import PreparedServable, PreparingLoader
from salver.isolation.backoff import BackoffOptions
from salver.isolation.crew import CrewReport
from salver.isolation.loader import IsolatedLoader, IsolatedServable, IsolationOptions
from tests.isolated_models import ActingLoader, ActingServable
from tests.running import wait_until

ID = ServableId("m", 1)
SOON = BackoffOptions(first_s=0.05, longest_s=0.2)
NEVER = BackoffOptions(first_s=600.0, longest_s=600.0)
X = np.arange(6, dtype=np.float32).reshape(2, 3)
LARGE = np.arange(2**20, dtype=np.float32)
LIMIT_S = 60.0

Start = Callable[..., "Site"]


OTHERS: set[int] = set()
"""Processes that were started before the test: servers that other tests share."""


@pytest.fixture(autouse=True)
def others() -> None:
    OTHERS.clear()
    OTHERS.update(workers())


def workers() -> list[int]:
    """The processes that this one has started since the test began."""
    return sorted({child.pid for child in psutil.Process().children()} - OTHERS)


class Site:
    """A loaded version and what was reported of it."""

    def __init__(self, **options: object) -> None:
        path = str(options.pop("path", ""))
        self.reports: list[CrewReport] = []
        self.loader = IsolatedLoader(
            ID,
            partial(ActingLoader, path),
            IsolationOptions(**{"backoff": SOON, **options}),  # type: ignore[arg-type]
            self.reports.append,
        )
        self.servable: IsolatedServable = self.loader.load()
        self.program = self.servable.program(("action", "x"), ("y",))

    def act(self, *words: str, x: np.ndarray = X) -> np.ndarray:
        return act(self.program, *words, x=x)

    def pids(self) -> list[int]:
        return workers()

    def wait_for_restart(self) -> None:
        wait_until(lambda: any(each.restarted for each in self.reports), "a worker is back")

    def wait_for_end(self) -> None:
        wait_until(lambda: any(not each.answering for each in self.reports), "no worker is up")


def act(program: Program, *words: str, x: np.ndarray = X) -> np.ndarray:
    action = np.empty(len(words), object)
    action[:] = [word.encode() for word in words]
    return program.run([action, x])[0]


@pytest.fixture
def start() -> Iterator[Start]:
    sites: list[Site] = []

    def started(**options: object) -> Site:
        sites.append(Site(**options))
        return sites[-1]

    yield started
    for site in sites:
        site.loader.unload()


def test_signatures_arrive_whole(start: Start) -> None:
    servable = start().servable
    own = ActingServable()

    (signature,) = servable.signatures.values()
    (expected,) = own.signatures.values()
    assert signature.name == expected.name
    assert signature.inputs == expected.inputs
    assert signature.outputs == expected.outputs
    assert list(signature.inputs) == list(expected.inputs)
    assert signature.method_name == expected.method_name
    np.testing.assert_array_equal(signature.defaults["x"], expected.defaults["x"])
    assert servable.signature_def_map == own.signature_def_map


@pytest.mark.parametrize(
    "x",
    [
        X,
        LARGE,
        np.float64(3),
        np.zeros((0, 4), np.int8),
        LARGE.reshape(1024, 1024).T,
        np.array([[b"", b"\0\xff"], [b"a" * 100_000, "é".encode()]], object),
        np.array(["é", "long text"]),
        np.array([b"fixed", b""]),
    ],
    ids=["small", "4 MB", "scalar", "no rows", "transposed", "strings", "text", "fixed width"],
)
def test_arrays_are_the_same_on_the_way_there_and_back(start: Start, x: np.ndarray) -> None:
    site = start()
    x = np.asarray(x)
    for _ in range(5):
        y = site.act("echo", x=x)
        assert y.dtype == x.dtype
        np.testing.assert_array_equal(y, x)


def test_what_a_model_keeps_is_not_written_over(start: Start) -> None:
    site = start()
    sums = []
    for number in range(8):
        x = LARGE * number
        sums.append(float(x.sum()))
        site.act("keep", x=x)

    np.testing.assert_allclose(site.act("kept_sums"), sums, rtol=1e-6)


def test_what_a_caller_keeps_is_not_written_over(start: Start) -> None:
    site = start()
    kept = [site.act("copy", x=LARGE + number) for number in range(8)]

    for number, array in enumerate(kept):
        np.testing.assert_array_equal(array, LARGE + number)


@pytest.mark.parametrize("x", [X, LARGE], ids=["small", "large"])
def test_a_model_may_write_to_its_inputs(start: Start, x: np.ndarray) -> None:
    before = x.copy()

    np.testing.assert_array_equal(start().act("double", x=x), before * 2)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize(
    ("action", "told"),
    [
        ("refuse", "INVALID_ARGUMENT: x is not to my taste"),
        ("fail", "INTERNAL: The model failed: TimeoutError: no answer from elsewhere"),
        ("leave", "INTERNAL: The model failed: SystemExit: a model should not do this"),
        ("objects", "INTERNAL: An array of Python objects of type NoneType cannot go"),
        ("no_array", "INTERNAL: The model failed: AttributeError: 'str' object"),
        ("nothing_known", "INTERNAL: The model failed: KeyError: 'nothing_known'"),
    ],
)
def test_an_error_of_a_request_is_that_of_the_model_and_no_more(
    start: Start, action: str, told: str
) -> None:
    site = start()
    pids = site.pids()

    for _ in range(2):
        with pytest.raises(ServingError) as raised:
            site.act(action)
        assert raised.value.status.startswith(told)

    np.testing.assert_array_equal(site.act("echo"), X)
    assert site.pids() == pids


def test_an_unknown_tensor_is_an_error_of_every_run(start: Start) -> None:
    site = start()
    program = site.servable.program(("nowhere",), ("y",))

    for _ in range(2):
        with pytest.raises(ServingError, match="No tensors"):
            program.run([X])
    np.testing.assert_array_equal(site.act("echo"), X)


def test_more_programs_than_are_kept_run_all_the_same(start: Start) -> None:
    site = start()
    for count in range(1, 1100, 7):
        assert len(site.servable.program(("action", "x"), ("y",) * count).run(_echo())) == count
    for count in range(1, 1010):
        site.servable.program(("action", "x"), ("y",) * count)
    for _ in range(2):
        assert len(site.servable.program(("action", "x"), ("y",) * 2000).run(_echo())) == 2000


def _echo() -> list[np.ndarray]:
    return [np.array([b"echo"], object), X]


@pytest.mark.parametrize(
    ("action", "told"),
    [
        (("crash",), "it was killed by SIGSEGV"),
        (("exit", "3"), "it ended with exit code 3"),
    ],
)
def test_a_worker_that_ends_is_started_again(
    start: Start, action: tuple[str, ...], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    site = start()
    (pid,) = site.pids()
    caplog.set_level(logging.INFO)

    with pytest.raises(Unavailable) as raised:
        site.act(*action)
    site.wait_for_restart()

    assert raised.value.message == (
        f"The worker process of model m, version 1 ended during the request: {told}"
    )
    np.testing.assert_array_equal(site.act("echo"), X)
    assert site.reports[-1].restarted
    assert f"worker 0 (pid {pid}) has ended: {told}; it is started again in 0.05 s" in caplog.text


def test_while_no_worker_is_up_requests_are_refused_at_once(start: Start) -> None:
    site = start(backoff=NEVER)
    with pytest.raises(Unavailable):
        site.act("crash")
    site.wait_for_end()

    with pytest.raises(Unavailable, match=r"SIGSEGV; one is started again in (600|599)\.\d s"):
        site.act("echo")


def test_a_child_that_a_worker_leaves_behind_hides_no_end(start: Start, tmp_path: Path) -> None:
    site = start()
    child = tmp_path / "pid"

    with pytest.raises(Unavailable, match="exit code 7"):
        site.act("fork", str(child))

    os.kill(int(child.read_text()), signal.SIGKILL)
    site.wait_for_restart()
    np.testing.assert_array_equal(site.act("echo"), X)


def test_a_run_that_takes_too_long_is_ended(start: Start) -> None:
    site = start(run_limit_s=0.2)
    (pid,) = site.pids()

    with pytest.raises(Unavailable, match=r"ended because it took longer than 0\.2 s"):
        site.act("hold", "60")

    site.wait_for_restart()
    assert site.pids() != [pid]
    np.testing.assert_array_equal(site.act("echo"), X)


def test_a_stopped_worker_does_not_take_others_along(start: Start) -> None:
    site = start(workers=2, run_limit_s=1.0, backoff=NEVER)
    os.kill(site.pids()[0], signal.SIGSTOP)
    outcomes = []

    with ThreadPoolExecutor(2) as threads:
        for future in [threads.submit(site.act, "echo") for _ in range(50)]:
            outcomes.append(future.exception())

    failures = [outcome for outcome in outcomes if outcome is not None]
    assert len(failures) == 1
    assert isinstance(failures[0], Unavailable)


def test_workers_run_side_by_side(start: Start, tmp_path: Path) -> None:
    site = start(workers=2)
    gates = []
    for number in range(2):
        begun, go = tmp_path / f"begun{number}", tmp_path / f"go{number}"
        os.mkfifo(begun)
        os.mkfifo(go)
        gates.append((begun, go))

    with ThreadPoolExecutor(2) as threads:
        runs = [threads.submit(site.act, "wait_for", str(b), str(g)) for b, g in gates]
        # Both have begun before either may end.
        for begun, _ in gates:
            assert begun.read_text() == "begun"
        for _, go in gates:
            go.write_text("go")
        for run in runs:
            np.testing.assert_array_equal(run.result(), X)


def test_threads_share_what_workers_there_are(start: Start) -> None:
    site = start(workers=2)

    def ask(number: int) -> bool:
        x = np.full(number % 5 + (20_000 if number % 3 else 1), number, np.float32)
        return all((site.act("copy", x=x) == x).all() for _ in range(20))

    with ThreadPoolExecutor(6) as threads:
        assert all(threads.map(ask, range(60)))


def test_a_warm_up_reaches_every_worker_and_those_that_follow(start: Start) -> None:
    site = start(workers=2)
    with site.servable.warming_up():
        site.act("keep")
        site.act("keep")
    pids = {site.act("pid")[0]}

    def counts() -> list[float]:
        with ThreadPoolExecutor(2) as threads:
            return [
                future.result()[0]
                for future in [threads.submit(site.act, "kept_sums") for _ in range(2)]
            ]

    assert counts() == [X.sum(), X.sum()]
    os.kill(int(pids.pop()), signal.SIGKILL)
    site.wait_for_restart()

    assert [len(site.act("kept_sums")) for _ in range(4)] == [2, 2, 2, 2]


def test_the_server_s_warm_up_is_such_a_warm_up() -> None:
    def warm_up(servable: PreparedServable) -> None:
        servable.signatures["serving_default"].executable.program.run(
            [np.array([b"keep"], object), X]
        )

    loader = PreparingLoader(IsolatedLoader(ID, ActingLoader, IsolationOptions(workers=2)), warm_up)
    try:
        program = loader.load().signatures["serving_default"].executable.program
        with ThreadPoolExecutor(2) as threads:
            hold = [threads.submit(act, program, "hold", "0.1") for _ in range(2)]
            sums = [threads.submit(act, program, "kept_sums") for _ in range(2)]
            assert [future.result().tolist() for future in sums] == [[X.sum()]] * 2
            assert all(future.result() is not None for future in hold)
    finally:
        loader.unload()


def test_a_model_that_cannot_load_says_why(start: Start) -> None:
    with pytest.raises(NotFound, match="/nowhere is not there"):
        start(path="/nowhere", workers=2)

    assert workers() == []


def test_a_model_that_crashes_while_it_loads_is_an_error_of_the_load(start: Start) -> None:
    with pytest.raises(InternalError, match="The worker process failed: it was killed by SIGSEGV"):
        start(path="crash")

    assert workers() == []


def test_workers_that_load_different_things_are_an_error_of_the_load(start: Start) -> None:
    with pytest.raises(FailedPrecondition, match="other signatures than the first one"):
        start(path="fickle", workers=2)

    assert workers() == []


def test_a_worker_that_comes_back_with_something_else_does_not_answer(start: Start) -> None:
    site = start(path="fickle")
    os.kill(site.pids()[0], signal.SIGKILL)

    def told() -> str:
        with pytest.raises(Unavailable) as raised:
            site.act("echo")
        return raised.value.message

    wait_until(lambda: "other signatures than the first one" in told(), "it is refused")


def test_a_load_may_be_tried_again(tmp_path: Path) -> None:
    place = tmp_path / "model"
    loader = IsolatedLoader(ID, partial(ActingLoader, str(place)), IsolationOptions())
    with pytest.raises(NotFound):
        loader.load()
    place.mkdir()

    program = loader.load().program(("action", "x"), ("y",))

    np.testing.assert_array_equal(act(program, "echo"), X)
    loader.unload()


def test_a_worker_that_cannot_load_again_is_tried_again(start: Start, tmp_path: Path) -> None:
    place = tmp_path / "model"
    place.mkdir()
    site = start(path=str(place))
    place.rmdir()
    os.kill(site.pids()[0], signal.SIGKILL)

    def why() -> str:
        try:
            site.act("echo")
        except Unavailable as error:
            return error.message
        return ""

    wait_until(lambda: f"it could not load: {place} is not there" in why(), "it is told why")
    place.mkdir()
    wait_until(lambda: why() == "", "it is back")


@pytest.mark.slow
def test_nothing_is_left_of_what_was_unloaded() -> None:
    before = threads_and_files()
    for number in range(50):
        site = Site(workers=1 + number % 2)
        site.act("leak", "8")
        np.testing.assert_array_equal(site.act("copy", x=LARGE), LARGE)
        site.loader.unload()
        assert site.reports[-1] == CrewReport(ID, 0, is_over=True)
        assert workers() == []
    gc.collect()

    after = threads_and_files()
    assert after == before


def threads_and_files() -> tuple[int, int, int]:
    with open("/proc/self/maps") as maps:
        regions = sum("salver-tensors" in line for line in maps)
    return threading.active_count(), len(os.listdir("/proc/self/fd")), regions


def test_a_run_after_the_end_only_fails(start: Start) -> None:
    site = start()
    site.loader.unload()

    with pytest.raises(Unavailable):
        site.act("echo")


@pytest.mark.slow
def test_four_megabytes_each_way_cost_little_more_than_to_copy_them(start: Start) -> None:
    site = start()
    inside = ActingServable().program(("action", "x"), ("y",))

    def quickest(program: Program) -> float:
        times = []
        for _ in range(100):
            began = perf_counter()
            # As models do: something is computed of every element.
            act(program, "copy", x=LARGE)
            times.append(perf_counter() - began)
        return min(times)

    ratio = quickest(site.program) / quickest(inside)

    # A copy into the memory, one out of it, and what it costs to wake another process: but no
    # pipe through which they would have to be squeezed, and no pickle.
    print(f"4 MB each way: {ratio:.1f} times a copy")
    assert ratio < 20
