from collections.abc import AsyncIterator

import pytest

from salver.core.events import EventBus
from salver.core.manager import Manager, ManagerOptions
from salver.core.state import State
from salver.core.stream import Aspired
from salver.errors import InvalidArgument, NotFound
from salver.traffic.labels import LabelTable
from salver.traffic.router import Router
from tests.fakes import LIMIT_S, EventLog, FakeLoader, FakeServable


@pytest.fixture
async def manager() -> AsyncIterator[Manager[FakeServable]]:
    """Serves versions 1 and 2 of m."""
    manager: Manager[FakeServable] = Manager(ManagerOptions(), EventBus())
    log = EventLog(manager.events)
    manager.start()
    manager.aspire("m", [Aspired(version, FakeLoader(version)) for version in (1, 2)])
    for version in (1, 2):
        await log.until("m", version, State.AVAILABLE)
    yield manager
    assert await manager.stop(LIMIT_S) == []


async def test_a_request_means_a_label_or_a_version_or_the_highest(
    manager: Manager[FakeServable],
) -> None:
    labels = LabelTable()
    labels.replace({"m": {"stable": 1}})
    router = Router(manager, labels)
    handles = [router.open("m"), router.open("m", 1), router.open("m", None, "stable")]
    assert [handle.id.version for handle in handles] == [2, 1, 1]
    for handle in handles:
        handle.release()
    assert [handle.uses for handle in handles] == [0, 0, 0]


async def test_a_label_does_not_move_when_its_version_is_gone(
    manager: Manager[FakeServable],
) -> None:
    labels = LabelTable()
    labels.replace({"m": {"stable": 1}})
    router = Router(manager, labels)
    log = EventLog(manager.events)
    manager.aspire("m", [Aspired(2, FakeLoader(2))])
    await log.until("m", 1, State.END)
    with pytest.raises(NotFound, match=r"^Servable not found for request: Specific\(m, 1\)$"):
        router.open("m", None, "stable")


async def test_what_is_not_there_is_refused(manager: Manager[FakeServable]) -> None:
    labels = LabelTable()
    labels.replace({})
    router = Router(manager, labels)
    with pytest.raises(NotFound, match=r"^Servable not found for request: Latest\(x\)$"):
        router.open("x")
    with pytest.raises(NotFound, match=r"^Servable not found for request: Specific\(m, 3\)$"):
        router.open("m", 3)
    with pytest.raises(InvalidArgument, match=r"^Unrecognized servable version label: nope$"):
        router.open("m", None, "nope")
