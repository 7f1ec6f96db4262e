import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from salver.codecs.messages import message_class
from salver.codecs.tf_record import read_records
from salver.core.servable import ServableId
from salver.errors import Code
from salver.telemetry.record_file import FileLimits
from salver.telemetry.request_log import (
    Entry,
    EntryQueue,
    ExampleAnswer,
    ExamplesCall,
    LoggedCall,
    PredictCall,
    RequestLogSettings,
)
from salver.telemetry.request_log_writer import Counts, RequestLogWriter

ID = ServableId("m", 3)


def call(number: float = 1.0) -> PredictCall:
    x = np.array([number], np.float32)
    return PredictCall("s", ["x"], [x], ["y"], ["y"], [x + 1])


class Site:
    """A writer that writes when the test says so."""

    def __init__(self, limits: FileLimits | None = None) -> None:
        self.now = 100.0
        self.counts: Counter[tuple[str, Code]] = Counter()
        self.queue = EntryQueue(1 << 20)
        self.writer = RequestLogWriter(
            self.queue, limits or FileLimits(), ["serve"], self._take, lambda: self.now
        )

    def _take(self, counts: Counts) -> None:
        self.counts.update(counts)

    def log(self, prefix: Path, call: LoggedCall, model: ServableId = ID) -> None:
        settings = RequestLogSettings(str(prefix), 1.0)
        assert self.queue.offer(Entry(settings, model, 1234.9, call))


def records(prefix: Path) -> list[bytes]:
    found: list[bytes] = []
    for path in sorted(prefix.parent.glob(f"{prefix.name}-*")):
        with path.open("rb") as file:
            found += read_records(file)
    return found


def numbers(prefix: Path) -> list[float]:
    """The input `x` of each logged Predict."""
    return [
        message_class("tensorflow.serving.PredictionLog")
        .FromString(record)
        .predict_log.request.inputs["x"]
        .float_val[0]
        for record in records(prefix)
    ]


def test_entries_go_to_the_files_of_their_prefix_in_order(tmp_path: Path) -> None:
    site = Site()
    for number in range(4):
        site.log(tmp_path / "even" if number % 2 == 0 else tmp_path / "odd", call(number))
    site.writer.write_all()
    assert numbers(tmp_path / "even") == [0.0, 2.0]
    assert numbers(tmp_path / "odd") == [1.0, 3.0]
    assert site.counts == {("m", Code.OK): 4}


def test_the_time_is_in_whole_seconds(tmp_path: Path) -> None:
    site = Site()
    site.log(tmp_path / "log", call())
    site.writer.write_all()
    (record,) = records(tmp_path / "log")
    log = message_class("tensorflow.serving.PredictionLog").FromString(record)
    assert log.log_metadata.timestamp_secs == 1234


def test_an_entry_that_no_message_can_hold_leaves_the_others_alone(tmp_path: Path) -> None:
    site = Site()
    bad = np.empty((1, 1), object)
    bad[0, 0] = b"\xff"
    examples = np.array([b""], object)
    answer = ExampleAnswer("s", "tensorflow/serving/classify", classes=bad)
    site.log(tmp_path / "log", call(1))
    site.log(tmp_path / "log", ExamplesCall(False, examples, [answer]))
    site.log(tmp_path / "log", PredictCall("s", ["x"], [np.array([{}])], [], [], []))
    site.log(tmp_path / "log", call(2))
    site.writer.write_all()
    assert numbers(tmp_path / "log") == [1.0, 2.0]
    assert site.counts[("m", Code.OK)] == 2
    assert site.counts.total() == 4


def test_retired_files_are_closed_and_a_late_entry_begins_another(tmp_path: Path) -> None:
    site = Site()
    site.log(tmp_path / "log", call(1))
    site.queue.retire(str(tmp_path / "log"))
    site.queue.retire("/of/nobody")
    site.writer.write_all()
    site.log(tmp_path / "log", call(2))
    site.writer.write_all()
    assert len(list(tmp_path.iterdir())) == 2
    assert numbers(tmp_path / "log") == [1.0, 2.0]


def test_a_failure_is_told_once_and_tried_again_after_a_while(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site()
    obstacle = tmp_path / "folder"
    obstacle.touch()
    with caplog.at_level(logging.INFO):
        for number in range(3):
            site.log(obstacle / "log", call(number))
            site.writer.write_all()
        obstacle.unlink()
        site.log(obstacle / "log", call(3))
        site.writer.write_all()
        assert site.counts == {("m", Code.FAILED_PRECONDITION): 4}
        site.now += 10.0
        site.log(obstacle / "log", call(4))
        site.writer.write_all()
    assert numbers(obstacle / "log") == [4.0]
    assert site.counts[("m", Code.OK)] == 1
    failed, again = caplog.messages
    assert str(obstacle) in failed
    assert again.endswith("again; 4 were not")


def test_one_prefix_that_fails_does_not_concern_the_others(tmp_path: Path) -> None:
    site = Site()
    (tmp_path / "file").touch()
    site.log(tmp_path / "file" / "log", call(1), ServableId("n", 1))
    site.log(tmp_path / "log", call(2))
    site.writer.write_all()
    assert numbers(tmp_path / "log") == [2.0]
    assert site.counts == {("m", Code.OK): 1, ("n", Code.FAILED_PRECONDITION): 1}


def test_what_is_in_the_queue_is_written_before_the_thread_ends(tmp_path: Path) -> None:
    site = Site()
    site.writer.start()
    site.writer.start()
    for number in range(100):
        site.log(tmp_path / "log", call(number))
    assert site.writer.stop(20.0)
    assert numbers(tmp_path / "log") == [float(number) for number in range(100)]


def test_a_writer_that_never_began_has_nothing_to_end() -> None:
    assert Site().writer.stop()


def test_an_old_file_is_closed_though_nothing_more_comes(tmp_path: Path) -> None:
    site = Site(FileLimits(max_age_s=60.0))
    site.log(tmp_path / "log", call(1))
    site.writer.write_all()
    site.now += 60.0
    site.writer.write_all()
    site.log(tmp_path / "log", call(2))
    site.writer.write_all()
    assert len(list(tmp_path.iterdir())) == 2
