import logging

import pytest

from salver.core.events import Drained, EventBus, StateChanged
from salver.core.servable import ServableId
from salver.core.state import State

ID = ServableId("m", 1)


def test_each_listener_gets_the_events_of_its_kind_in_order() -> None:
    events = EventBus()
    heard: list[object] = []
    events.subscribe(StateChanged, lambda event: heard.append(("first", event.state)))
    events.subscribe(StateChanged, lambda event: heard.append(("second", event.state)))
    events.subscribe(Drained, lambda event: heard.append(event.id))
    events.publish(StateChanged(ID, State.START))
    events.publish(Drained(ID))
    assert heard == [("first", State.START), ("second", State.START), ID]


def test_a_listener_that_raises_is_logged_and_disturbs_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    events = EventBus()
    heard: list[State] = []

    def broken(event: StateChanged) -> None:
        raise ZeroDivisionError

    events.subscribe(StateChanged, broken)
    events.subscribe(StateChanged, lambda event: heard.append(event.state))
    with caplog.at_level(logging.ERROR):
        events.publish(StateChanged(ID, State.LOADING))
    assert heard == [State.LOADING]
    assert "ZeroDivisionError" in caplog.text


def test_a_listener_can_leave_even_while_an_event_is_published() -> None:
    events = EventBus()
    heard: list[State] = []

    def once(event: StateChanged) -> None:
        heard.append(event.state)
        leave()

    leave = events.subscribe(StateChanged, once)
    events.publish(StateChanged(ID, State.START))
    events.publish(StateChanged(ID, State.LOADING))
    assert heard == [State.START]
