"""What operators of TensorFlow Serving look for on stderr, in the order in which it comes.

The words are those that were seen of the original; lines about what only that has
(its allocator, its HTTP library) are left out.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from google.protobuf import text_format
from tensorflow_serving.apis import model_management_pb2

from tests.grpc_client import TIMEOUT_S, GrpcClient
from tests.process.asking import config_of
from tests.running import RunningServer, write_config
from tests.served_models import VersionedModel

_PREFIX = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [DIWE] [\w.]+\] ")
_CHANGING = re.compile(r"\d+ microseconds|127\.0\.0\.1:\d+|localhost:\d+")
POLLING = "--model_config_file_poll_wait_seconds=1"


def messages(server: RunningServer) -> list[str]:
    """What our own log lines say, without the time and what changes from run to run."""
    own = [_PREFIX.sub("", line) for line in server.lines if _PREFIX.match(line)]
    return [_CHANGING.sub("...", line) for line in own]


def assert_in_order(server: RunningServer, expected: Sequence[str]) -> None:
    """Each line came, after the one before it; others may have come in between."""
    found = iter(messages(server))
    for line in expected:
        assert line in found, f"{line!r} is not where it should be in:\n" + "\n".join(server.lines)


def loads(model: VersionedModel, version: int, name: str) -> list[str]:
    id_, path = f"{{name: {name} version: {version}}}", f"{model.base_path}/{version}"
    return [
        f"Successfully reserved resources to load servable {id_}",
        f"Approving load for servable version {id_}",
        f"Loading servable version {id_}",
        f"Reading SavedModel from: {path}",
        "Reading meta graph with tags { serve }",
        f"Reading SavedModel debug info (if present) from: {path}",
        "SavedModel load for tags { serve }; Status: success: OK. Took ....",
        f"No warmup data file found at {path}/assets.extra/tf_serving_warmup_requests",
        f"Successfully loaded servable version {id_}",
    ]


def unloads(version: int, name: str) -> list[str]:
    id_ = f"{{name: {name} version: {version}}}"
    return [
        f"Quiescing servable version {id_}",
        f"Done quiescing servable version {id_}",
        f"Unloading just-loaded servable version {id_}",
        f"Done unloading servable version {id_}",
    ]


def test_the_lines_of_a_start_come_alone_and_in_order(model: VersionedModel) -> None:
    with RunningServer(
        f"--model_base_path={model.base_path}", "--model_name=m", ready_line="event loop"
    ) as server:
        lines = messages(server)
    assert lines == [
        "Building single TensorFlow model file config:  "
        f"model_name: m model_base_path: {model.base_path}",
        "Adding/updating models.",
        " (Re-)adding model: m",
        *loads(model, 1, "m"),
        "Finished adding/updating models",
        "Using InsecureServerCredentials",
        "Profiler service is enabled",
        "Running gRPC ModelServer at ... ...",
        "Exporting HTTP/REST API at:... ...",
        "NET_LOG: Entering the event loop ...",
    ]


def test_a_swap_and_a_rollback_tell_the_load_before_the_unload(model: VersionedModel) -> None:
    with RunningServer(f"--model_base_path={model.base_path}", "--model_name=m") as server:
        model.add(2)
        server.wait_for_line("Done unloading servable version {name: m version: 1}")
        model.remove(2)
        server.wait_for_line("Done unloading servable version {name: m version: 2}")
        expected = [*loads(model, 1, "m"), *loads(model, 2, "m"), *unloads(1, "m")]
        assert_in_order(server, [*expected, *loads(model, 1, "m"), *unloads(2, "m")])


def test_each_attempt_at_a_broken_version_is_told(model: VersionedModel) -> None:
    flags = ["--max_num_load_retries=1", "--load_retry_interval_micros=1000"]
    id_ = "{name: default version: 2}"
    with RunningServer(f"--model_base_path={model.base_path}", *flags) as server:
        path = model.break_(2)
        server.wait_for_line(f"Servable {id_} cannot be loaded")
        error = f"DATA_LOSS: Can't parse {path}/saved_model.pb as binary proto"
    attempt = [
        f"Reading SavedModel from: {path}",
        f"SavedModel load for tags {{ serve }}; Status: fail: {error}. Took ....",
        f"Loading servable: {id_} failed: {error}",
    ]
    assert_in_order(
        server,
        [
            f"Loading servable version {id_}",
            *attempt,
            f"Retrying of Loading servable: {id_} retry: 1",
            *attempt,
            f"Retrying of Loading servable: {id_} exhausted max_num_retries: 1",
            f"Encountered an error for servable version {id_}: {error}",
            f"Servable {id_} cannot be loaded: {error}",
        ],
    )
    lines = messages(server)
    assert lines.count(f"Loading servable version {id_}") == 1
    assert lines.count(f"Retrying of Loading servable: {id_} retry: 1") == 1


def test_a_missing_and_an_empty_base_path_are_told_while_the_server_waits(
    tmp_path: Path, model: VersionedModel
) -> None:
    late = tmp_path / "late"
    flag = write_config(
        tmp_path / "models.txt",
        [
            config_of(model, "m"),
            f'name: "late" base_path: "{late}" model_platform: "tensorflow" '
            "model_version_policy { specific { versions: 9 } }",
        ],
    )
    server = RunningServer(flag)
    server.launch()
    try:
        server.wait_for_line("Could not find base path")
        late.mkdir()
        server.wait_for_line("No versions of servable late found")
        assert_in_order(
            server,
            [
                "FileSystemStoragePathSource encountered a filesystem access error: "
                f"Could not find base path {late} for servable late "
                f"with error NOT_FOUND: {late} not found",
                "Version 9 of servable late, which was requested to be served as a 'specific' "
                "version in the servable's version policy, was not found in the file system",
                f"No versions of servable late found under base path {late}. "
                "Did you forget to name your leaf directory as a number (eg. '/1/')?",
            ],
        )
    finally:
        server.kill()


def test_what_is_wrong_with_a_polled_file_is_told(tmp_path: Path, model: VersionedModel) -> None:
    path = tmp_path / "models.txt"
    flag = write_config(path, [config_of(model, "m")])
    labelled = 'version_labels { key: "new" value: 9 }'
    with RunningServer(flag, POLLING) as server:
        write_config(path, [f"{config_of(model, 'm')} {labelled}"])
        server.wait_for_line("PollFilesystemAndReloadConfig")
        path.write_text("garbage: 1")
        server.wait_for_line("Invalid protobuf file")
        path.write_bytes(b"")
        server.wait_for_line("Invalid argument")
        path.unlink()
        server.wait_for_line("No such file or directory")
        write_config(path, [config_of(model, "m"), config_of(model, "n")])
        server.wait_for_line("Successfully loaded servable version {name: n version: 1}")
    failed = "Failed to read ModelServerConfig file: "
    assert_in_order(
        server,
        [
            "PollFilesystemAndReloadConfig failed to ReloadConfig: Request to assign label to "
            "version 9 of model m, which is not currently available for inference",
            "Error parsing text-format tensorflow.serving.ModelServerConfig: 1:8: Message type "
            '"tensorflow.serving.ModelServerConfig" has no field named "garbage".',
            f"{failed}Invalid protobuf file: '{path}'",
            f"{failed}{path}; Invalid argument",
            f"{failed}{path}; No such file or directory",
            "Adding/updating models.",
            " (Re-)adding model: m",
            " (Re-)adding model: n",
            *loads(model, 1, "n"),
        ],
    )


def test_a_reload_by_request_tells_its_entries(tmp_path: Path, model: VersionedModel) -> None:
    flag = write_config(tmp_path / "models.txt", [config_of(model, "m")])
    with RunningServer(flag) as server, GrpcClient(server.grpc_address) as client:
        request = model_management_pb2.ReloadConfigRequest()
        second = f'name: "n" base_path: "{model.base_path}" model_type: TENSORFLOW'
        text = f"config {{ {config_of(model, 'm')} }} config {{ {second} }}"
        text_format.Parse(f"model_config_list {{ {text} }}", request.config)
        client.model.HandleReloadConfigRequest(request, timeout=TIMEOUT_S)
        entries = [line for line in server.lines if line.startswith(("Config entry", "\t"))]
    assert entries == [
        "Config entry",
        "\tindex : 0",
        f"\tpath : {model.base_path}",
        "\tname : m",
        "\tplatform : tensorflow",
        "Config entry",
        "\tindex : 1",
        f"\tpath : {model.base_path}",
        "\tname : n",
        "\tplatform : ",
    ]
    deprecated = (
        "Deprecated ModelServerConfig::model_type field used. "
        "Prefer ModelServerConfig::model_platform."
    )
    assert_in_order(
        server, ["Adding/updating models.", deprecated, "Finished adding/updating models"]
    )
