import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from salver.backends.tflite import TfLiteLoader, TfLiteOptions
from salver.backends.tflite_interpreter import LiteInterpreter
from salver.errors import (
    Cancelled,
    InternalError,
)
from tests.backends.asking import Load, ask, example, texts
from tests.tflite_models import path_of

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "models"


@pytest.mark.parametrize(
    ("options", "most"),
    [
        pytest.param(TfLiteOptions(), 1, id="one"),
        pytest.param(TfLiteOptions(pools=2), 2, id="two pools"),
        pytest.param(TfLiteOptions(pools=1, interpreters_per_pool=3), 3, id="three in a pool"),
        pytest.param(TfLiteOptions(pools=0, interpreters_per_pool=-1), 1, id="less than one"),
    ],
)
def test_as_many_requests_run_at_once_as_there_are_interpreters(
    tflite_folder: Path, options: TfLiteOptions, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = TfLiteLoader(path_of(tflite_folder, "plain"), options)
    servable = loader.load()
    program = servable.program(("serving_default_x:0",), ("PartitionedCall:0",))
    lock, all_in = threading.Lock(), threading.Barrier(most)
    running: set[int] = set()
    seen = []
    run = LiteInterpreter.run

    def watched(self: LiteInterpreter, arrays: Any, outputs: Any) -> list[np.ndarray]:
        with lock:
            assert id(self) not in running
            running.add(id(self))
            seen.append(len(running))
        all_in.wait(60)  # only as many as the bound get together here
        try:
            return run(self, arrays, outputs)
        finally:
            with lock:
                running.discard(id(self))

    monkeypatch.setattr(LiteInterpreter, "run", watched)

    def answer(number: int) -> bool:
        x = np.full(number % 3 + 1, number, np.float32)
        return bool((program.run([x])[0] == x / 2 + 2).all())

    with ThreadPoolExecutor(most + 3) as threads:
        assert all(threads.map(answer, range(12)))
    loader.unload()

    assert max(seen) == most


def test_a_run_lets_other_threads_compute(load_lite: Load) -> None:
    """A Python thread goes on while the interpreter works: no lock is held."""
    program = load_lite("slow").program(("serving_default_steps:0",), ("PartitionedCall:0",))
    program.run([np.array(1, np.int32)])
    done = threading.Event()
    counted = [0]

    def count() -> None:
        while not done.is_set():
            counted[0] += 1

    with ThreadPoolExecutor(1) as threads:
        counting = threads.submit(count)
        before = counted[0]
        program.run([np.array(400, np.int32)])
        during = counted[0] - before
        done.set()
        counting.result()

    # With the lock held, there would be no turn at all between start and end.
    assert during > 1000


def test_unloading_gives_the_memory_back(tflite_folder: Path) -> None:
    process = psutil.Process()
    resident = []
    for _ in range(4):
        loader = TfLiteLoader(path_of(tflite_folder, "heavy"), TfLiteOptions(pools=2))
        (alias,) = loader.load().signatures["serving_default"].inputs
        assert alias == "serving_default_x"
        resident.append(process.memory_info().rss)
        loader.unload()
        resident.append(process.memory_info().rss)

    loaded, unloaded = resident[2::2], resident[3::2]
    assert min(loaded) - max(unloaded) > 40_000_000
    assert unloaded[-1] - unloaded[0] < 10_000_000


def test_a_run_under_way_ends_although_the_version_is_unloaded(
    load_lite: Load, tflite_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = TfLiteLoader(path_of(tflite_folder, "plain"))
    program = loader.load().program(("serving_default_x:0",), ("PartitionedCall:0",))
    run = LiteInterpreter.run
    started, may_go_on = threading.Event(), threading.Event()

    def held_up(self: LiteInterpreter, arrays: Any, outputs: Any) -> list[np.ndarray]:
        started.set()
        assert may_go_on.wait(60)
        return run(self, arrays, outputs)

    monkeypatch.setattr(LiteInterpreter, "run", held_up)
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(program.run, [np.array([2], np.float32)])
        assert started.wait(60)
        loader.unload()
        may_go_on.set()

        assert answer.result()[0].tolist() == [3.0]
    with pytest.raises(Cancelled):
        program.run([np.array([2], np.float32)])


def test_a_million_errors_do_not_fill_the_memory(
    load_lite: Load, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The runtime adds each error to the text of those before, so interpreters are replaced."""
    caplog.set_level(logging.CRITICAL)
    program = load_lite("matrix").program(
        ("serving_default_x:0", "serving_default_z:0"), ("PartitionedCall:0",)
    )
    lengths = []
    failed = LiteInterpreter._failed

    def noting(self: LiteInterpreter, message: str, error: Exception) -> InternalError:
        lengths.append(len(str(error)))
        return failed(self, message, error)

    monkeypatch.setattr(LiteInterpreter, "_failed", noting)
    for _ in range(2000):
        with pytest.raises(InternalError):
            program.run([np.ones((1, 3), np.float32), np.ones((1, 4), np.float32)])

    assert 60_000 < max(lengths) < 80_000
    assert program.run([np.ones((2, 4), np.float32)] * 2)


def test_examples_are_parsed_ahead_of_the_graph(load_lite: Load) -> None:
    servable = load_lite("examples")
    serialized = texts(
        example(x=[2.0], name=[b"two\0"], ids=[3, 4], tags=[b"a", b"b"]),
        example(x=[4.0]),
        example(x=[6.0], tags=[b"c"]),
    )

    outputs = ask(servable, {"serialized": serialized})

    assert outputs["half"].tolist() == [[3.0], [4.0], [5.0]]
    assert outputs["name"].tolist() == [[b"two\0"], [b"none"], [b"none"]]
    assert outputs["ids"].tolist() == [[3, 4], [-1, -2], [-1, -2]]
    assert outputs["tag_indices"].tolist() == [[0, 0], [0, 1], [2, 0]]
    assert outputs["tag_values"].tolist() == [b"a", b"b", b"c"]
    assert outputs["tag_shape"].tolist() == [3, 2]
    assert ask(servable, {"inputs": serialized[:1]}, "regress")["outputs"].tolist() == [[3.0]]


@pytest.mark.parametrize(
    "serialized",
    [
        pytest.param(b"\xff\xff", id="no example"),
        pytest.param(example(name=[b"x"]), id="missing"),
        pytest.param(example(x=[1.0, 2.0]), id="too many"),
        pytest.param(example(x=[1]), id="other type"),
    ],
)
def test_an_example_that_does_not_fit_is_an_error_of_the_request(
    load_lite: Load, serialized: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    servable = load_lite("examples")

    with pytest.raises(InternalError) as raised:
        ask(servable, {"inputs": texts(example(x=[2.0]), serialized)}, "regress")

    assert raised.value.message == "Failed to invoke TfLite interpreter"
    assert "ParseExample" in caplog.messages[-1]
    assert ask(servable, {"inputs": texts(example(x=[2.0]))}, "regress")["outputs"] == [[3.0]]


@pytest.mark.skipif(not SHARED.exists(), reason="the models of others are not here")
def test_the_model_that_others_made_to_parse_examples_can_be_served() -> None:
    servable = TfLiteLoader(str(SHARED / "parse_example_tflite" / "00000123")).load()

    outputs = ask(servable, {"input": texts(example(x=[2.0], y=[b"a"]), example())})

    assert outputs["ParseExample/ParseExampleV2"].tolist() == [[2.0], [0.0]]
    assert outputs["ParseExample/ParseExampleV2:1"].tolist() == [[b"a"], [b"missing"]]
