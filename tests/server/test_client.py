"""The client against our own server, both protocols, blocking and awaited."""

from collections.abc import Iterator

import numpy as np
import pytest

from salver.client import AsyncClient, Client
from salver.errors import NotFound
from tests.running import RunningServer, write_config
from tests.served_models import VersionedModel, export


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("models")
    export("constant", folder / "template")
    model = VersionedModel(folder / "template", folder / "constant")
    for version in (3, 7):
        model.add(version)
    flag = write_config(
        folder / "models.config",
        [
            f'name: "constant" base_path: "{folder}/constant" '
            'model_platform: "tensorflow" '
            "model_version_policy { all {} } "
            'version_labels { key: "stable" value: 3 }'
        ],
    )
    with RunningServer(flag, "--allow_version_labels_for_unavailable_models") as running:
        yield running


@pytest.fixture(params=["grpc", "rest"])
def address(server: RunningServer, request: pytest.FixtureRequest) -> str:
    return server.grpc_address if request.param == "grpc" else server.url


X = {"x": np.array([1, 2], np.float32)}


def test_a_prediction_is_arrays_by_name(address: str) -> None:
    with Client(address) as client:
        prediction = client.predict("constant", X)
    assert list(prediction) == ["y"]
    assert prediction["y"].dtype == np.float32
    assert prediction["y"].tolist() == [7, 7]
    assert (prediction.model, prediction.signature) == ("constant", "serving_default")


def test_a_version_or_a_label_answers(address: str) -> None:
    with Client(address) as client:
        assert client.predict("constant", X, version=3)["y"].tolist() == [3, 3]
        assert client.predict("constant", X, label="stable")["y"].tolist() == [3, 3]


async def test_the_same_calls_can_be_awaited(address: str) -> None:
    async with AsyncClient(address) as client:
        prediction = await client.predict("constant", X, version=3, outputs=["y"])
        assert prediction["y"].tolist() == [3, 3]
        assert prediction.version == 3
        assert [status.version for status in await client.status("constant")] == [7, 3]
        assert (await client.metadata("constant", label="stable")).version == 3


def test_errors_have_the_servers_code_and_text(address: str) -> None:
    with Client(address) as client, pytest.raises(NotFound) as raised:
        client.predict("constnat", X)
    assert str(raised.value) == "Servable not found for request: Latest(constnat)"


def test_metadata_has_the_signatures(address: str) -> None:
    with Client(address) as client:
        metadata = client.metadata("constant")
    assert (metadata.name, metadata.version) == ("constant", 7)
    assert metadata.signatures["serving_default"].inputs["x"].shape == (-1,)
