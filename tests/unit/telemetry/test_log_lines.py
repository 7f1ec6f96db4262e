import logging

import pytest

from salver.core.events import (
    Drained,
    Event,
    EventBus,
    LoadFailed,
    LoadRetried,
    RetriesCancelled,
    RetriesExhausted,
    StateChanged,
)
from salver.core.servable import ServableId
from salver.core.state import State
from salver.errors import DataLoss
from salver.telemetry.log_lines import LoggedLoader, log_versions
from tests.fakes import FakeLoader

ID = ServableId("m", 1)
ERROR = DataLoss("Can't parse it")


@pytest.mark.parametrize(
    ("event", "lines"),
    [
        pytest.param(StateChanged(ID, State.START), [], id="start"),
        pytest.param(StateChanged(ID, State.LOADING), [], id="loading, told by the loader"),
        pytest.param(
            StateChanged(ID, State.AVAILABLE),
            ["Successfully loaded servable version {name: m version: 1}"],
            id="available",
        ),
        pytest.param(
            StateChanged(ID, State.UNLOADING),
            ["Quiescing servable version {name: m version: 1}"],
            id="unloading",
        ),
        pytest.param(
            Drained(ID),
            [
                "Done quiescing servable version {name: m version: 1}",
                "Unloading just-loaded servable version {name: m version: 1}",
            ],
            id="drained",
        ),
        pytest.param(
            StateChanged(ID, State.END),
            ["Done unloading servable version {name: m version: 1}"],
            id="end",
        ),
        pytest.param(
            LoadFailed(ID, 1, ERROR),
            ["Loading servable: {name: m version: 1} failed: DATA_LOSS: Can't parse it"],
            id="failed attempt",
        ),
        pytest.param(
            LoadRetried(ID, 1),
            ["Retrying of Loading servable: {name: m version: 1} retry: 1"],
            id="retry",
        ),
        pytest.param(
            RetriesExhausted(ID, 2),
            ["Retrying of Loading servable: {name: m version: 1} exhausted max_num_retries: 2"],
            id="exhausted",
        ),
        pytest.param(
            RetriesCancelled(ID),
            ["Retrying of Loading servable: {name: m version: 1} was cancelled."],
            id="cancelled",
        ),
        pytest.param(
            StateChanged(ID, State.END, ERROR),
            [
                "Encountered an error for servable version {name: m version: 1}: "
                "DATA_LOSS: Can't parse it",
                "Servable {name: m version: 1} cannot be loaded: DATA_LOSS: Can't parse it",
            ],
            id="error",
        ),
    ],
)
def test_each_event_writes_the_lines_that_operators_know(
    event: Event, lines: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    events = EventBus()
    log_versions(events)
    with caplog.at_level(logging.INFO):
        events.publish(event)
    assert caplog.messages == lines


def test_a_load_is_told_before_its_first_attempt_and_by_the_thread_that_loads(
    caplog: pytest.LogCaptureFixture,
) -> None:
    inner = FakeLoader("label", failures=[ERROR])
    loader = LoggedLoader(ID, inner)
    with caplog.at_level(logging.INFO):
        with pytest.raises(DataLoss):
            loader.load()
        lines = list(caplog.messages)
        assert loader.load().label == "label"
        loader.unload()
    assert lines == [
        "Successfully reserved resources to load servable {name: m version: 1}",
        "Approving load for servable version {name: m version: 1}",
        "Loading servable version {name: m version: 1}",
    ]
    assert caplog.messages == lines
    assert inner.unloads == 1
