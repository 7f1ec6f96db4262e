"""One client in several processes and on several event loops."""

import asyncio
import gc
import json
import os
import sys
import threading
import warnings
from collections.abc import Iterator

import numpy as np
import pytest

from salver.client import AsyncClient, Client
from salver.errors import Code
from tests.answering import AnsweringServer, Asked, Told

CALLS = 40
TENSOR = {"name": "t:0", "dtype": "DT_FLOAT", "tensor_shape": {"unknown_rank": True}}
SIGNATURE = {"inputs": {"x": TENSOR}, "outputs": {"y": TENSOR}}
METADATA = {
    "model_spec": {"name": "m", "version": "1"},
    "metadata": {"signature_def": {"signature_def": {"serving_default": SIGNATURE}}},
}


def echo(asked: Asked) -> Told:
    if asked.path.endswith("/metadata"):
        return Told(200, json.dumps(METADATA).encode())
    if not asked.body:
        return Told(200, b"{}")
    return Told(200, json.dumps({"outputs": json.loads(asked.body)["inputs"]["x"]}).encode())


@pytest.fixture(scope="module")
def server() -> Iterator[AnsweringServer]:
    with AnsweringServer(lambda asked: Told(Code.OK), echo) as running:
        yield running


def wrong_answers(client: Client, start: int) -> int:
    """How many of some predictions are those of other inputs."""
    values = [float(start + number) for number in range(CALLS)]
    return sum(client.predict("m", {"x": np.array(v)})["y"].item() != v for v in values)


def test_a_forked_process_never_gets_the_answers_of_another(server: AnsweringServer) -> None:
    with Client(server.url) as client:
        assert wrong_answers(client, 0) == 0
        children = []
        for number in range(1, 4):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # There are other threads.
                child = os.fork()
            if child == 0:
                code = 99
                try:
                    code = wrong_answers(client, 1000 * number)
                finally:
                    sys.stdout.flush()
                    os._exit(code)
            children.append(child)
        wrong = [wrong_answers(client, 9000)]
        wrong += [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert wrong == [0, 0, 0, 0]


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_awaited_client_goes_from_one_loop_to_the_next(
    server: AnsweringServer, protocol: str
) -> None:
    use_on_loops(AsyncClient(server.grpc_address if protocol == "grpc" else server.url))
    gc.collect()  # What was left to loops that have ended is closed by Python, with warnings.


def use_on_loops(client: AsyncClient) -> None:
    for _ in range(3):
        assert asyncio.run(client.status("m")) == ()

    # Two loops at the same time.
    found: list[object] = []
    meeting = threading.Barrier(2)

    async def ask() -> None:
        for _ in range(10):
            found.append(await client.status("m"))
            meeting.wait(30)

    threads = [threading.Thread(target=asyncio.run, args=(ask(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [()] * 20

    async def end() -> None:
        await client.status("m")
        await client.close()

    asyncio.run(end())
