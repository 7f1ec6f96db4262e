import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from salver.core.availability import Withdrawals, wait_until_available, wait_until_settled
from salver.core.events import EventBus
from salver.core.manager import Manager, ManagerOptions
from salver.core.state import State
from salver.core.stream import Aspired
from salver.errors import DataLoss, NotFound, UnknownError
from tests.fakes import LIMIT_S, EventLog, FakeLoader, FakeServable, turn_loop


@pytest.fixture
async def manager() -> AsyncIterator[Manager[FakeServable]]:
    manager: Manager[FakeServable] = Manager(ManagerOptions(max_load_retries=0), EventBus())
    manager.start()
    yield manager
    assert await manager.stop(LIMIT_S) == []


def broken() -> FakeLoader:
    return FakeLoader(failures=[DataLoss("Can't parse it")])


async def test_the_wait_ends_when_the_last_servable_is_available(
    manager: Manager[FakeServable],
) -> None:
    gate = threading.Event()
    waiting = asyncio.create_task(wait_until_available(manager, ["a", "b"]))
    manager.aspire("a", [Aspired(1, FakeLoader())])
    await EventLog(manager.events).until("a", 1, State.AVAILABLE)
    await turn_loop()
    assert not waiting.done()
    manager.aspire("b", [Aspired(1, FakeLoader(gate=gate))])
    gate.set()
    await asyncio.wait_for(waiting, LIMIT_S)
    assert manager.available_versions("b") == (1,)


async def test_nothing_to_wait_for_is_no_wait(manager: Manager[FakeServable]) -> None:
    await wait_until_available(manager, [])


async def test_a_servable_without_versions_is_waited_for(manager: Manager[FakeServable]) -> None:
    waiting = asyncio.create_task(wait_until_available(manager, ["a"]))
    manager.aspire("a", [])
    await turn_loop()
    assert not waiting.done()
    manager.aspire("a", [Aspired(9, FakeLoader())])
    await asyncio.wait_for(waiting, LIMIT_S)


async def test_a_failure_is_told_in_full_after_all_have_settled(
    manager: Manager[FakeServable],
) -> None:
    manager.aspire("broken", [Aspired(1, broken())])
    manager.aspire("good", [Aspired(1, FakeLoader())])
    with pytest.raises(UnknownError) as caught:
        await asyncio.wait_for(wait_until_available(manager, ["good", "broken"]), LIMIT_S)
    assert caught.value.status == (
        "UNKNOWN: 1 servable(s) did not become available: {{{name: broken version: 1} "
        "due to error: DATA_LOSS: Can't parse it}, }"
    )
    assert manager.available_versions("good") == (1,)


async def test_several_failures_of_a_reload_are_listed_by_name(
    manager: Manager[FakeServable],
) -> None:
    manager.aspire("z", [Aspired(7, FakeLoader(failures=[NotFound("gone")]))])
    manager.aspire("b", [Aspired(1, broken())])
    with pytest.raises(UnknownError) as caught:
        await asyncio.wait_for(wait_until_available(manager, ["z", "b"], "model"), LIMIT_S)
    assert caught.value.message == (
        "2 model(s) did not become available: "
        "{{{name: b version: 1} due to error: DATA_LOSS: Can't parse it}, "
        "{{name: z version: 7} due to error: NOT_FOUND: gone}, }"
    )


async def test_the_highest_version_that_has_settled_decides(
    manager: Manager[FakeServable],
) -> None:
    gate = threading.Event()
    low = FakeLoader(gate=gate)
    manager.aspire("m", [Aspired(1, low), Aspired(2, broken())])
    with pytest.raises(UnknownError, match="version: 2"):
        await asyncio.wait_for(wait_until_available(manager, ["m"]), LIMIT_S)
    gate.set()


async def test_a_lower_version_that_fails_later_does_not_matter(
    manager: Manager[FakeServable],
) -> None:
    gate = threading.Event()
    low = FakeLoader(gate=gate, failures=[DataLoss("Can't parse it")])
    log = EventLog(manager.events)
    manager.aspire("m", [Aspired(2, FakeLoader()), Aspired(1, low)])
    await asyncio.wait_for(wait_until_available(manager, ["m"]), LIMIT_S)
    gate.set()
    await log.until("m", 1, State.END)
    await asyncio.wait_for(wait_until_available(manager, ["m"]), LIMIT_S)


async def test_the_end_of_an_earlier_life_is_no_failure(manager: Manager[FakeServable]) -> None:
    log = EventLog(manager.events)
    manager.aspire("m", [Aspired(1, broken())])
    await log.until("m", 1, State.END)
    manager.aspire("m", [])
    waiting = asyncio.create_task(wait_until_available(manager, ["m"]))
    await turn_loop()
    assert not waiting.done()
    manager.aspire("m", [Aspired(1, FakeLoader())])
    await asyncio.wait_for(waiting, LIMIT_S)


async def test_servables_that_are_withdrawn_are_not_waited_for(
    manager: Manager[FakeServable],
) -> None:
    withdrawals = Withdrawals()
    waiting = asyncio.create_task(
        wait_until_available(manager, ["a", "b"], withdrawals=withdrawals)
    )
    await turn_loop()
    withdrawals.keep_only(["a", "other"])
    await turn_loop()
    assert not waiting.done()
    manager.aspire("a", [Aspired(1, FakeLoader())])
    await asyncio.wait_for(waiting, LIMIT_S)
    waiting = asyncio.create_task(wait_until_available(manager, ["c"], withdrawals=withdrawals))
    await turn_loop()
    withdrawals.keep_only([])
    await asyncio.wait_for(waiting, LIMIT_S)


async def test_all_versions_have_settled_when_the_last_is_loaded_or_has_failed(
    manager: Manager[FakeServable],
) -> None:
    gate = threading.Event()
    log = EventLog(manager.events)
    manager.aspire("m", [Aspired(1, FakeLoader(gate=gate)), Aspired(2, FakeLoader())])
    manager.aspire("n", [Aspired(1, broken())])
    await log.until("m", 2, State.AVAILABLE)
    await log.until("n", 1, State.END)
    waiting = asyncio.create_task(wait_until_settled(manager, LIMIT_S))
    await turn_loop()
    assert not waiting.done()
    gate.set()
    await asyncio.wait_for(waiting, LIMIT_S)
    assert manager.available_versions("m") == (2, 1)


async def test_versions_that_load_for_ever_are_waited_for_so_long_and_no_longer(
    manager: Manager[FakeServable],
) -> None:
    gate = threading.Event()
    manager.aspire("m", [Aspired(1, FakeLoader(gate=gate))])
    await asyncio.wait_for(wait_until_settled(manager, 0.01), LIMIT_S)
    assert manager.available_versions("m") == ()
    gate.set()


async def test_where_there_is_nothing_all_has_settled(manager: Manager[FakeServable]) -> None:
    await wait_until_settled(manager, LIMIT_S)
