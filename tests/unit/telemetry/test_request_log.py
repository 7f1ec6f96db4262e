import logging

import numpy as np
import pytest

from salver.core.servable import ServableId
from salver.errors import Code
from salver.telemetry.request_log import (
    Entry,
    EntryQueue,
    PredictCall,
    RequestLogs,
    RequestLogSettings,
    Retired,
)

ID = ServableId("m", 1)
ALL = RequestLogSettings("/logs/all", 1.0)


def call(size: int = 1) -> PredictCall:
    return PredictCall("s", ["x"], [np.zeros(size, np.uint8)], [], [], [])


def entry(size: int) -> Entry:
    return Entry(ALL, ID, 0.0, call(size))


class Site:
    def __init__(self, max_bytes: int = 1 << 20) -> None:
        self.counted: list[tuple[str, Code]] = []
        self.queue = EntryQueue(max_bytes)
        self.logs = RequestLogs(self.queue, lambda *what: self.counted.append(what))

    def take_all(self) -> list[Entry | Retired]:
        taken = []
        while (each := self.queue.take()) is not None:
            taken.append(each)
        return taken


def test_the_queue_is_first_in_first_out() -> None:
    queue = EntryQueue(1 << 20)
    entries = [entry(size) for size in (1, 2, 3)]
    assert queue.take() is None
    assert all(queue.offer(each) for each in entries)
    assert [queue.take() for _ in range(4)] == [*entries, None]


def test_the_queue_takes_no_more_bytes_than_it_may() -> None:
    queue = EntryQueue(10_000)
    assert queue.offer(entry(4000))
    assert not queue.offer(entry(4000))
    assert queue.offer(entry(2000))
    queue.take()
    assert queue.offer(entry(4000))
    assert not EntryQueue(0).offer(entry(0))


def test_the_bytes_of_strings_count_too() -> None:
    texts = np.array([b"x" * 9000], object)
    queue = EntryQueue(10_000)
    assert not queue.offer(Entry(ALL, ID, 0.0, PredictCall("s", ["x"], [texts], [], [], [])))


def test_the_writer_is_woken_by_the_first_entry() -> None:
    queue = EntryQueue(1 << 20)
    assert not queue.filled.is_set()
    queue.offer(entry(1))
    assert queue.filled.is_set()


@pytest.mark.parametrize(
    ("rate", "low", "high"), [(0.0, 0, 0), (0.25, 300, 700), (1.0, 2000, 2000)]
)
def test_a_rate_is_the_share_of_the_requests_that_are_chosen(
    rate: float, low: int, high: int
) -> None:
    site = Site()
    site.logs.configure({"m": RequestLogSettings("/logs/m", rate)})
    chosen = sum(site.logs.by_model["m"].chooses() for _ in range(2000))
    assert low <= chosen <= high


def test_what_does_not_fit_is_counted_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    site = Site(max_bytes=3000)
    site.logs.configure({"m": ALL})
    log = site.logs.by_model["m"]
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            log.add(ID, call())
    assert site.counted == [("m", Code.RESOURCE_EXHAUSTED)] * 3
    assert len(caplog.messages) == 1
    assert len(site.take_all()) == 2
    log.add(ID, call())
    assert len(site.take_all()) == 1


def test_a_change_keeps_the_logs_that_stay_and_the_object_that_others_hold() -> None:
    site = Site()
    by_model = site.logs.by_model
    assert not by_model
    other = RequestLogSettings("/logs/other", 0.5)
    site.logs.configure({"m": ALL, "n": other})
    kept = by_model["m"]
    site.logs.configure({"m": ALL, "n": RequestLogSettings("/logs/other", 0.7)})
    assert by_model["m"] is kept
    assert site.take_all() == []
    site.logs.configure({"m": ALL})
    assert list(by_model) == ["m"]
    assert site.take_all() == [Retired("/logs/other")]


def test_files_are_retired_after_the_entries_that_go_there() -> None:
    site = Site()
    site.logs.configure({"m": ALL})
    site.logs.by_model["m"].add(ID, call())
    site.logs.configure({})
    assert [type(each) for each in site.take_all()] == [Entry, Retired]
    assert not site.logs.by_model


def test_files_that_another_model_still_writes_to_stay_open() -> None:
    site = Site()
    site.logs.configure({"m": ALL, "n": ALL})
    site.logs.configure({"n": ALL})
    assert site.take_all() == []
