"""Version labels over the life of a server."""

from pathlib import Path

import grpc
import pytest

from tests.grpc_client import GrpcClient
from tests.process.asking import LOADED, NO_RETRIES, UNLOADED, available, config_of
from tests.process.test_reloads import config, reload
from tests.running import RunningServer, wait_until, write_config
from tests.served_models import VersionedModel

ALLOWED = "--allow_version_labels_for_unavailable_models=true"
REFUSED = (
    "FAILED_PRECONDITION",
    "Request to assign label to version 9 of model m, which is not currently available for "
    "inference",
)


def failure(client: GrpcClient, label: str) -> str:
    with pytest.raises(grpc.RpcError) as error:
        client.answer("m", label=label)
    details: str = error.value.details()
    return details


def test_a_label_stays_with_its_version_when_that_is_gone(
    model: VersionedModel, tmp_path: Path
) -> None:
    body = config_of(model, "m") + ' version_labels { key: "stable" value: 1 }'
    flags = [write_config(tmp_path / "models.txt", [body]), ALLOWED, NO_RETRIES]
    with RunningServer(*flags) as server, GrpcClient(server.grpc_address) as client:
        assert client.answer("m", label="stable") == 1.0
        model.add(2)
        server.wait_for_line(f"{UNLOADED} {{name: m version: 1}}")
        assert client.answer("m") == 2.0
        assert failure(client, "stable") == "Servable not found for request: Specific(m, 1)"
        assert failure(client, "other") == "Unrecognized servable version label: other"


@pytest.mark.parametrize("flag", ["", ALLOWED])
def test_a_label_moves_to_what_is_available_and_a_refused_config_moves_none(
    model: VersionedModel, tmp_path: Path, flag: str
) -> None:
    model.add(2)
    body = config_of(model, "m") + " model_version_policy { all {} }"
    flags = [write_config(tmp_path / "models.txt", [body]), NO_RETRIES, *filter(None, [flag])]

    def with_labels(**labels: int) -> object:
        request = config(("m", model.base_path), **labels)
        request.config.model_config_list.config[0].model_version_policy.all.SetInParent()
        return request

    with RunningServer(*flags) as server, GrpcClient(server.grpc_address) as client:
        wait_until(lambda: available(server, "m") == [2, 1], "both versions")
        assert reload(server, with_labels(stable=1, canary=2)) == ("OK", "")
        assert reload(server, with_labels(stable=1, canary=2)) == ("OK", "")
        assert client.answer("m", label="stable") == 1.0
        assert client.answer("m", label="canary") == 2.0
        assert reload(server, with_labels(stable=2)) == ("OK", "")
        assert client.answer("m", label="stable") == 2.0
        assert failure(client, "canary") == "Unrecognized servable version label: canary"
        # In use, it goes to no version that is not there, whatever the flag says.
        assert reload(server, with_labels(stable=9)) == REFUSED
        assert client.answer("m", label="stable") == 2.0
        assert reload(server, with_labels()) == ("OK", "")
        if not flag:
            assert reload(server, with_labels(stable=9)) == REFUSED
            return
        assert reload(server, with_labels(stable=9)) == ("OK", "")
        assert failure(client, "stable") == "Servable not found for request: Specific(m, 9)"
        model.add(9)
        server.wait_for_line(f"{LOADED} {{name: m version: 9}}")
        assert client.answer("m", label="stable") == 9.0
