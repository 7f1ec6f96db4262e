"""The client against our own server, both protocols, blocking and awaited."""

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.ports import free_port
from salver.client import (
    Arm,
    AsyncClient,
    Classification,
    Client,
    Example,
    Regression,
    Retries,
    Task,
    TrafficSplit,
)
from salver.errors import (
    Code,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ServingError,
    Unavailable,
    Unimplemented,
)
from tests import saved_models
from tests.running import RunningServer

X = {"x": np.array([1, 2], np.float32)}
BOTH = pytest.mark.parametrize("protocol", ["grpc", "rest"])
NOT_IN_JSON = (
    "bfloat16",
    "float16",
    "uint16",
    "complex",
    "float8",
    "q",
    "int4",
    "uint4",
    "int2",
    "uint2",
)


def address_of(server: RunningServer, protocol: str) -> str:
    return server.grpc_address if protocol == "grpc" else server.url


@pytest.fixture(scope="module", params=["grpc", "rest"])
def client(server: RunningServer, request: pytest.FixtureRequest) -> Iterator[Client]:
    with Client(address_of(server, request.param)) as client:
        yield client


def is_not_in_json(kind: str) -> bool:
    return kind.startswith(NOT_IN_JSON)


def test_a_prediction_is_arrays_by_name_and_tells_what_answered(client: Client) -> None:
    prediction = client.predict("versioned", X)
    assert list(prediction) == ["y"]
    assert prediction["y"].dtype == np.float32
    assert prediction["y"].tolist() == [3, 3]
    assert prediction["y"].flags.writeable
    told = prediction.model, prediction.version, prediction.signature
    assert told == ("versioned", 3, "serving_default")


def test_a_version_or_a_label_answers(client: Client) -> None:
    assert client.predict("versioned", X, version=2)["y"].tolist() == [2, 2]
    stable = client.predict("versioned", X, label="stable")
    assert (stable["y"].tolist(), stable.version) == ([1, 1], 1)
    with pytest.raises(InvalidArgument, match="version 2 and label 'stable'"):
        client.predict("versioned", X, version=2, label="stable")


def test_several_inputs_and_outputs_of_different_types(client: Client) -> None:
    inputs = {
        "matrix": np.arange(6, dtype=np.float32).reshape(2, 3),
        "vector": np.array([1, 10, 100], np.float32),
        "label": np.array(b"caf\xc3\xa9\0", object),
    }
    prediction = client.predict("several", inputs)
    assert prediction["product"].tolist() == [210, 543]
    assert prediction["sum"].shape == ()
    assert prediction["label"][()] == b"caf\xc3\xa9\0!"
    assert prediction["shape"].dtype == np.int32
    some = client.predict("several", inputs, outputs=["sum", "shape"])
    assert sorted(some) == ["shape", "sum"]


@pytest.mark.parametrize("kind", saved_models.ECHO_TYPES)
def test_every_type_comes_back_as_it_was_sent(
    client: Client, kind: str, saved_model_folder: Path
) -> None:
    sent = saved_models.answers_of(saved_model_folder, "echo")[kind][0]["x"]
    if "http" in repr(client) and is_not_in_json(kind):
        with pytest.raises(InvalidArgument, match="REST API cannot carry"):
            client.predict("echo", {"x": sent}, signature=kind)
        return
    back = client.predict("echo", {"x": sent}, signature=kind)["y"]
    assert back.dtype == sent.dtype
    assert back.shape == sent.shape
    # Bit by bit, so that NaN equals NaN, and 0.0 does not equal -0.0.
    assert (
        back.tolist() == sent.tolist() if sent.dtype == object else back.tobytes() == sent.tobytes()
    )


def test_exact_numbers_come_back_exactly(client: Client) -> None:
    doubles = np.array(
        [0.1, 1 / 3, math.pi, -0.0, math.inf, -math.inf, math.nan, 1.7976931348623157e308]
    )
    back = client.predict("echo", {"x": doubles}, signature="float64")["y"]
    assert back.tobytes() == doubles.tobytes()
    floats = np.array([0.1, 1 / 3, 16777217, 3.4028235e38, math.nan, -math.inf], np.float32)
    back = client.predict("echo", {"x": floats}, signature="float32")["y"]
    assert back.tobytes() == floats.tobytes()
    wholes = np.array([2**63 - 1, -(2**63), 2**53 + 1])
    assert (client.predict("echo", {"x": wholes}, signature="int64")["y"] == wholes).all()
    texts = np.array([b"", b'\xff"\\\n\0', "ü".encode()], object)
    assert client.predict("echo", {"x": texts}, signature="string")["y"].tolist() == texts.tolist()


@pytest.mark.parametrize("shape", [(), (0,), (2, 0), (0, 3), (1, 2, 3, 1)])
def test_shapes_come_back(client: Client, shape: tuple[int, ...]) -> None:
    sent = np.ones(shape, np.float32)
    back = client.predict("echo", {"x": sent}, signature="float32")["y"]
    if shape == (0, 3) and "http" in repr(client):
        # An empty list in JSON has no second dimension.
        shape = (0,)
    assert back.shape == shape


def test_lists_and_numbers_become_arrays_of_the_declared_type(client: Client) -> None:
    assert client.predict("versioned", {"x": [1, 2]})["y"].tolist() == [3, 3]
    back = client.predict("echo", {"x": [[1, 2**62 + 1]]}, signature="int64")["y"]
    assert back.tolist() == [[1, 2**62 + 1]]
    back = client.predict("echo", {"x": ["ä", "b\0"]}, signature="string")["y"]
    assert back.tolist() == ["ä".encode(), b"b\0"]
    with pytest.raises(InvalidArgument, match="input 'x' takes int64, and was given float64"):
        client.predict("echo", {"x": [1.5]}, signature="int64")
    with pytest.raises(InvalidArgument, match="has no input 'X'; did you mean 'x'"):
        client.predict("versioned", {"X": [1.5]})


def test_arrays_of_another_type_are_converted_where_nothing_is_lost(client: Client) -> None:
    for x in (np.array([1.0, 2.0, 5.0]), np.array([1, 2, 5]), np.array([1, 2, 5], np.uint8)):
        # The second time the type is known beforehand.
        for _ in range(2):
            back = client.predict("echo", {"x": x}, signature="float32")["y"]
            assert back.dtype == np.float32
            assert back.tolist() == [1, 2, 5]
    for wrong, reason in (
        (np.array([1j]), "takes float, and was given complex128"),
        (np.array(["a"]), "takes float, and was given text"),
        (np.array([1e300]), "cannot be an array of float: a value is out of its range"),
    ):
        with pytest.raises(InvalidArgument, match=f"input 'x' {reason}"):
            client.predict("echo", {"x": wrong}, signature="float32")


def test_errors_have_the_servers_code_and_text(client: Client) -> None:
    with pytest.raises(NotFound) as raised:
        client.predict("nobody", X)
    assert str(raised.value) == "Servable not found for request: Latest(nobody)"
    with pytest.raises(NotFound, match=r"Specific\(versioned, 9\)"):
        client.predict("versioned", X, version=9)
    with pytest.raises(ServingError) as wrong:
        client.predict("several", {"matrix": np.ones((1, 1), np.float32)})
    assert wrong.value.code is Code.INVALID_ARGUMENT


def test_metadata_has_the_signatures(client: Client) -> None:
    metadata = client.metadata("versioned", label="stable")
    assert (metadata.name, metadata.version) == ("versioned", 1)
    spec = metadata.signatures["serving_default"].inputs["x"]
    assert (spec.name, spec.data_type.short_name, spec.shape) == ("x:0", "float", (-1,))


def test_status_has_every_version(client: Client) -> None:
    statuses = client.status("versioned")
    assert [(one.version, one.state, one.code, one.message) for one in statuses] == [
        (version, "AVAILABLE", Code.OK, "") for version in (3, 2, 1)
    ]
    assert [one.version for one in client.status("versioned", version=2)] == [2]


def test_a_server_tells_the_names_of_its_models(client: Client) -> None:
    assert {"echo", "several", "versioned"} <= set(client.models())


@BOTH
async def test_the_same_calls_can_be_awaited(server: RunningServer, protocol: str) -> None:
    async with AsyncClient(address_of(server, protocol)) as client:
        prediction = await client.predict("versioned", {"x": [1]}, version=2, outputs=["y"])
        assert (prediction["y"].tolist(), prediction.version) == ([2], 2)
        assert [one.version for one in await client.status("versioned")] == [3, 2, 1]
        assert (await client.metadata("versioned", label="stable")).version == 1
        assert "versioned" in await client.models()
        with pytest.raises(NotFound):
            await client.predict("nobody", X)


@BOTH
def test_examples_are_classified_and_regressed(seen_server: RunningServer, protocol: str) -> None:
    examples: list[Example] = [{"x": 3.0}, {"x": np.float32(4)}]
    with Client(address_of(seen_server, protocol)) as client:
        classes = client.classify("seen", examples, signature="classify")
        assert classes.labels.tolist() == [["3"], ["4"]]
        assert classes.scores.dtype == np.float32
        assert classes.scores.tolist() == [[2], [2]]
        assert (classes.model, classes.version, classes.signature) == ("seen", 1, "classify")
        values = client.regress("seen", [{}, {}, {}], context={"x": [7.0]}, signature="regress")
        assert values.values.tolist() == [3, 3, 3]
        with pytest.raises(InvalidArgument, match="feature 'x' has a dict"):
            client.classify("seen", [{"x": {}}])  # type: ignore[dict-item]  # it is wrong


@BOTH
async def test_examples_can_be_awaited(seen_server: RunningServer, protocol: str) -> None:
    async with AsyncClient(address_of(seen_server, protocol)) as client:
        classes = await client.classify("seen", [{"x": 3.0}], signature="classify")
        assert classes.labels.tolist() == [["3"]]
        assert (await client.regress("seen", [{"x": 3.0}], signature="regress")).values == 1


async def test_multi_inference_answers_task_by_task(seen_server: RunningServer) -> None:
    tasks = [Task("regress", "regress"), Task("classify", "classify")]
    examples = [{"x": 5.0}, {"x": 6.0}]
    with Client(seen_server.grpc_address) as client:
        regression, classification = client.multi_inference("seen", tasks, examples)
    async with AsyncClient(seen_server.grpc_address) as awaited:
        again = await awaited.multi_inference("seen", tasks, examples)
    assert isinstance(regression, Regression)
    assert isinstance(again[0], Regression)
    assert isinstance(classification, Classification)
    assert regression.values.tolist() == again[0].values.tolist() == [2, 2]
    assert classification.labels.tolist() == [["5"], ["6"]]
    with Client(seen_server.url) as client, pytest.raises(Unimplemented, match="gRPC"):
        client.multi_inference("seen", tasks, examples)


async def test_a_config_is_reloaded(seen_server: RunningServer, seen: Path) -> None:
    def config(*names: str) -> str:
        models = "".join(
            f'config {{ name: "{name}" base_path: "{seen}" model_platform: "tensorflow" }} '
            for name in names
        )
        return f"model_config_list {{ {models} }}"

    with Client(seen_server.grpc_address) as client:
        client.reload_config(config("seen", "twin"))
        assert client.models() == ("seen", "twin")
        assert client.predict("twin", X)["y"].tolist() == [1, 2]
        with pytest.raises(InvalidArgument, match="Error parsing text-format"):
            client.reload_config("no config")
    async with AsyncClient(seen_server.grpc_address) as awaited:
        await awaited.reload_config(config("seen"))
        assert await awaited.models() == ("seen",)
    with Client(seen_server.url) as client, pytest.raises(Unimplemented, match="gRPC"):
        client.reload_config(config("seen"))


@BOTH
async def test_large_batches_go_in_parts_and_come_back_in_order(
    seen_server: RunningServer, protocol: str
) -> None:
    x = np.arange(1000, dtype=np.float32)
    with Client(address_of(seen_server, protocol)) as client:
        whole = client.predict_in_chunks("seen", {"x": x}, rows=300, in_flight=3)
        lists = client.predict_in_chunks("seen", {"x": x.tolist()}, rows=999)
        empty = client.predict_in_chunks("seen", {"x": x[:0]})
        stream = client.predict_stream("seen", ({"x": x[i : i + 2]} for i in range(0, 10, 2)))
        assert [part["y"].tolist() for part in stream] == [[i, i + 1] for i in range(0, 10, 2)]
    assert whole["y"].tolist() == lists["y"].tolist() == x.tolist()
    assert set(whole["rows"].tolist()) == {300, 100}
    assert whole.version == 1
    assert len(empty["y"]) == 0

    async def batches() -> AsyncIterator[dict[str, np.ndarray]]:
        for start in range(0, 10, 2):
            yield {"x": x[start : start + 2]}

    async with AsyncClient(address_of(seen_server, protocol)) as awaited:
        again = await awaited.predict_in_chunks("seen", {"x": x}, rows=300)
        parts = [part async for part in awaited.predict_stream("seen", batches(), in_flight=2)]
    assert again["y"].tolist() == x.tolist()
    assert [part["y"].tolist() for part in parts] == [[i, i + 1] for i in range(0, 10, 2)]


@BOTH
def test_the_first_error_ends_a_stream(seen_server: RunningServer, protocol: str) -> None:
    taken = []

    def batches() -> Iterator[dict[str, np.ndarray]]:
        for number in range(100):
            taken.append(number)
            yield {"x": np.array([-1.0 if number == 3 else 1.0], np.float32)}

    with Client(address_of(seen_server, protocol)) as client:
        stream = client.predict_stream("seen", batches(), signature="checked", in_flight=2)
        assert [next(stream)["y"].tolist() for _ in range(3)] == [[2.0]] * 3
        with pytest.raises(ServingError, match="x must be above zero"):
            next(stream)
    assert len(taken) <= 5


def test_outputs_without_rows_cannot_be_joined(client: Client) -> None:
    inputs = {"x": np.ones((4, 1), np.float32)}
    shape = client.predict_in_chunks("echo", inputs, signature="float32", rows=3)
    assert shape["y"].shape == (4, 1)
    with pytest.raises(InvalidArgument, match="different numbers of rows"):
        client.predict_in_chunks("several", {"matrix": np.ones((4, 1)), "vector": np.ones(3)})


@BOTH
async def test_a_server_that_is_not_there_is_unavailable(protocol: str) -> None:
    port = free_port()
    address = f"127.0.0.1:{port}" if protocol == "grpc" else f"http://127.0.0.1:{port}"
    quick = Retries(attempts=2, first_pause_s=0.001)
    with Client(address, retries=quick) as client, pytest.raises(Unavailable):
        client.status("m")
    async with AsyncClient(address, retries=quick) as awaited:
        with pytest.raises(Unavailable):
            await awaited.status("m")


def test_a_closed_client_says_so(server: RunningServer) -> None:
    for address in (server.grpc_address, server.url):
        client = Client(address)
        client.close()
        with pytest.raises(FailedPrecondition, match="the client is closed"):
            client.status("versioned")


def test_keys_stick_to_their_arm_and_the_result_tells_the_version(client: Client) -> None:
    split = TrafficSplit(Arm(share=0.5, label="stable"), Arm(share=0.5, version=3))
    versions = {
        key: client.predict("versioned", X, **split.arm(key).choice).version for key in range(20)
    }
    assert set(versions.values()) == {1, 3}
    for key in range(20):
        again = client.predict("versioned", X, **split.arm(key).choice)
        assert again.version == versions[key]
        assert again["y"].tolist() == [versions[key]] * 2


async def test_many_calls_share_a_client(server: RunningServer) -> None:
    for address in (server.grpc_address, server.url):
        async with AsyncClient(address) as client:
            calls = [
                client.predict("echo", {"x": np.array([i], np.int64)}, signature="int64")
                for i in range(50)
            ]
            answers = await asyncio.gather(*calls)
        assert [int(answer["y"][0]) for answer in answers] == list(range(50))
