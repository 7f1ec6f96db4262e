"""The contract behind the server: all backends in one process, over REST and gRPC."""

import json
import random
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
import requests
from tensorflow_serving.apis import classification_pb2, get_model_metadata_pb2

from salver.backends.registry import Backends
from salver.backends.tensorflow import estimated_bytes as saved_model_bytes
from tests.backends.contract import BackendCase, assert_alike
from tests.backends.made import LARGE, Made
from tests.backends.reloading import entry, reload
from tests.grpc_client import TIMEOUT_S, GrpcClient
from tests.process.asking import status_of
from tests.running import RunningServer, wait_until, write_config

CONSENT = ("--allow_pickle", "--allow_python_code")
NO_RETRIES = "--max_num_load_retries=0"
TABLES = ("sklearn", "xgboost", "lightgbm", "catboost", "pmml", "mojo")
_AVAILABLE, _END = 30, 50


class Site:
    """A server with version 1 of each case, and both variants to swap."""

    def __init__(self, folder: Path, all_made: Sequence[Made], *flags: str) -> None:
        self.folder = folder
        self.all_made = all_made
        for made in all_made:
            made.link(1, folder / made.name / "1")
        here = [f"-{made.name}" for made in all_made if made.case.in_server]
        isolation = f"--isolate_models={','.join(['auto', *here])}"
        config = write_config(folder / "models.txt", self.entries())
        self.server = RunningServer(config, *CONSENT, NO_RETRIES, isolation, *flags)

    def entries(self, version: int = 1) -> list[str]:
        return [
            entry(
                made.name,
                self.folder / made.name,
                made.case.platform,
                [min(version, made.case.swaps + 1)],
            )
            for made in self.all_made
        ]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, all_made: list[Made]) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("contract_site"), all_made)
    with site.server:
        yield site


@pytest.fixture(scope="module")
def client(site: Site) -> Iterator[GrpcClient]:
    with GrpcClient(site.server.grpc_address) as client:
        yield client


def resident_bytes(process: psutil.Process) -> int:
    """Of the server and its worker processes, in which some models are."""
    return sum(each.memory_info().rss for each in (process, *process.children()))


def lists(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """As JSON has them."""

    def text(value: Any) -> Any:
        if isinstance(value, list):
            return [text(each) for each in value]
        return value.decode() if isinstance(value, bytes) else value

    return {name: text(array.tolist()) for name, array in arrays.items()}


def post(site: Site, made: Made, body: Any) -> Any:
    url = f"{site.server.url}/v1/models/{made.name}:predict"
    # With NaN, which not every writer of JSON has.
    return requests.post(url, data=json.dumps(body), timeout=TIMEOUT_S).json()


def assert_like(found: Any, expected: Any) -> None:
    """Lists of JSON, numbers but for rounding."""
    if isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_like(one, other)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, 1e-4, 1e-6, nan_ok=True)
    else:
        assert found == expected


def test_grpc_answers_as_the_framework_does(client: GrpcClient, made: Made) -> None:
    assert_alike(client.predict(made.name, made.case.inputs), made.answers(1), made.case)


def test_rest_answers_as_the_framework_does_in_columns(site: Site, made: Made) -> None:
    answer = post(site, made, {"inputs": lists(dict(made.case.inputs))})

    outputs = answer["outputs"]
    expected = lists(made.answers(1))
    if len(expected) == 1:
        (expected,) = expected.values()
        assert_like(outputs, expected)
    else:
        assert set(outputs) == set(expected)
        for name, values in expected.items():
            assert_like(outputs[name], values)


def test_rest_answers_as_the_framework_does_in_rows(site: Site, made: Made) -> None:
    columns = lists(dict(made.case.inputs))
    rows = [{name: column[i] for name, column in columns.items()} for i in range(made.case.rows)]

    predictions = post(site, made, {"instances": rows})["predictions"]

    expected = lists(made.answers(1))
    for i, row in enumerate(predictions):
        if len(expected) == 1:
            (values,) = expected.values()
            assert_like(row, values[i])
        else:
            assert set(row) == set(expected)
            for name, values in expected.items():
                assert_like(row[name], values[i])


def test_the_metadata_has_the_names_types_and_shapes(client: GrpcClient, made: Made) -> None:
    content = client.metadata(made.name).metadata["signature_def"].value
    found = get_model_metadata_pb2.SignatureDefMap.FromString(content)
    signature = found.signature_def["serving_default"]
    assert set(signature.inputs) == set(made.case.inputs)
    assert set(signature.outputs) == set(made.answers(1))
    assert signature.method_name == "tensorflow/serving/predict"


@pytest.mark.parametrize("wrong", ["missing", "unknown", "type"])
def test_a_wrong_input_is_an_invalid_argument_that_names_it(
    client: GrpcClient, made: Made, wrong: str
) -> None:
    inputs: dict[str, np.ndarray] = dict(made.case.inputs)
    name, array = next(iter(inputs.items()))
    match wrong:
        case "missing":
            del inputs[name]
        case "unknown":
            inputs["nobody"] = array
            name = "nobody"
        case "type":
            inputs[name] = np.zeros(array.shape, np.complex64)
    with pytest.raises(grpc.RpcError) as raised:
        client.response(made.name, inputs)

    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert name in raised.value.details() or made.case.own_checks
    assert "Traceback" not in raised.value.details()
    assert_alike(client.predict(made.name, made.case.inputs), made.answers(1), made.case)


@pytest.fixture
def scored(made: Made) -> np.ndarray:
    """What Classify should tell: shape [rows, classes]; NaN in rows that cannot be computed."""
    if made.case.scores is None:
        pytest.skip("the model of this case has no classes with scores")
    return made.case.scores(made.answers(1))


def known_rows(scored: np.ndarray) -> list[int]:
    rows: list[int] = np.flatnonzero(~np.isnan(scored).any(axis=1)).tolist()
    assert len(rows) >= 3
    return rows


def features(case: BackendCase, row: int) -> dict[str, Any]:
    """A row as JSON has an example; numbers that are missing are not there."""
    found = {}
    for name, array in case.inputs.items():
        value = array[row].decode() if isinstance(array[row], bytes) else array[row].tolist()
        if value == value:
            found[name] = value
    return found


def test_grpc_classifies_examples_as_the_framework_does(
    client: GrpcClient, made: Made, scored: np.ndarray
) -> None:
    rows = known_rows(scored)
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = made.name
    request.model_spec.signature_name = "classify"
    for row in rows:
        example = request.input.example_list.examples.add()
        for name, value in features(made.case, row).items():
            values = value if isinstance(value, list) else [value]
            feature = example.features.feature[name]
            kinds = {str: feature.bytes_list, int: feature.int64_list, float: feature.float_list}
            kinds[type(values[0])].value.extend(
                each.encode() if isinstance(each, str) else each for each in values
            )

    answer = client.prediction.Classify(request, timeout=TIMEOUT_S)

    for row, each in zip(rows, answer.result.classifications, strict=True):
        assert [one.label for one in each.classes] == list(made.case.labels)
        np.testing.assert_allclose([one.score for one in each.classes], scored[row], 1e-4, 1e-6)


def test_rest_classifies_examples_as_the_framework_does(
    site: Site, made: Made, scored: np.ndarray
) -> None:
    rows = known_rows(scored)
    body = {
        "signature_name": "classify",
        "examples": [features(made.case, row) for row in rows],
    }
    url = f"{site.server.url}/v1/models/{made.name}:classify"

    answer = requests.post(url, data=json.dumps(body), timeout=TIMEOUT_S).json()

    for row, each in zip(rows, answer["results"], strict=True):
        assert [label for label, _ in each] == list(made.case.labels)
        np.testing.assert_allclose([score for _, score in each], scored[row], 1e-4, 1e-6)


def test_only_models_of_tables_are_batched_by_default(site: Site, made: Made) -> None:
    url = f"{site.server.url}/salver/models/{made.name}/batching"

    queues = requests.get(url, timeout=TIMEOUT_S).json()["queues"]

    assert bool(queues) is (made.case.platform in TABLES)
    assert all(queue["automatic"] for queue in queues)


def test_batched_answers_are_those_of_rows_alone(tmp_path: Path, all_made: list[Made]) -> None:
    parameters = tmp_path / "batching.txt"
    parameters.write_text(
        "max_batch_size { value: 8 } batch_timeout_micros { value: 20000 } "
        "num_batch_threads { value: 2 } max_enqueued_batches { value: 1000 }"
    )
    site = Site(tmp_path, all_made, "--enable_batching", f"--batching_parameters_file={parameters}")
    with site.server, GrpcClient(site.server.grpc_address) as client:

        def ask(made: Made, row: int) -> None:
            inputs = {name: array[row : row + 1] for name, array in made.case.inputs.items()}
            expected = {name: array[row : row + 1] for name, array in made.answers(1).items()}
            assert_alike(client.predict(made.name, inputs), expected, made.case)

        with ThreadPoolExecutor(16) as threads:
            for made in all_made:
                rows = [number % made.case.rows for number in range(32)]
                list(threads.map(ask, [made] * len(rows), rows))
        for made in all_made:
            url = f"{site.server.url}/salver/models/{made.name}/batching"
            queues = requests.get(url, timeout=TIMEOUT_S).json()["queues"]
            (queue,) = [queue for queue in queues if "serving_default" in queue["signatures"]]
            assert queue["requests_in_batches"] > queue["batches"] > 0, made.name
            assert queue["batches_run_apart"] == 0, made.name


def test_swaps_under_load_fail_no_request(tmp_path: Path, all_made: list[Made]) -> None:
    site = Site(tmp_path, all_made)
    rounds = max(made.case.swaps for made in all_made)
    for made in all_made:
        for version in range(2, rounds + 2):
            made.link(2 - version % 2, tmp_path / made.name / str(version))
    with site.server, GrpcClient(site.server.grpc_address) as client:
        process = psutil.Process(site.server.pid)
        with Callers(site.server.grpc_address, all_made) as callers:
            resident = []
            for version in range(2, rounds + 2):
                status = reload(client, site.entries(version))
                assert status.error_code == 0, status
                wait_until(
                    lambda version=version: _only(client, all_made, version),  # type: ignore[misc]
                    f"version {version} of each model is the only one",
                )
                resident.append(resident_bytes(process))
        assert callers.failures == []
        for made in all_made:
            assert callers.answered[made.name] == {1, 2}, made.name
    # The first rounds fill caches and pools.
    assert resident[-1] - resident[9] < (8 << 20) * (len(all_made) + 1)


def _only(client: GrpcClient, all_made: Sequence[Made], version: int) -> bool:
    """Whether this version of each model, or its last, is the only one that is not at its end."""
    return all(
        _living(client, made.name) == {min(version, made.case.swaps + 1): _AVAILABLE}
        for made in all_made
    )


class Callers:
    """Ask each model again and again from a thread of its own; every answer must be a variant's."""

    def __init__(self, address: str, all_made: Sequence[Made]) -> None:
        self._address = address
        self._all_made = all_made
        self.failures: list[str] = []
        self.answered: dict[str, set[int]] = {made.name: set() for made in all_made}
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=[made]) for made in all_made]

    def _call(self, made: Made) -> None:
        answers = {variant: made.answers(variant) for variant in (1, 2)}
        with GrpcClient(self._address) as client:
            while not self._ended.is_set():
                try:
                    found = client.predict(made.name, made.case.inputs)
                    self.answered[made.name].add(_variant(found, answers, made))
                except Exception as error:  # noqa: BLE001 - whatever it is, it is counted
                    self.failures.append(f"{made.name}: {error}")
                # Not all cores are the callers'.
                self._ended.wait(random.uniform(0.003, 0.03))

    def __enter__(self) -> "Callers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()


def _variant(found: dict[str, Any], answers: dict[int, dict[str, Any]], made: Made) -> int:
    for variant, expected in answers.items():
        try:
            assert_alike(found, expected, made.case)
        except AssertionError:
            continue
        return variant
    raise AssertionError(f"an answer of neither variant: {found}")


def test_an_unloaded_version_gives_its_memory_back(
    tmp_path: Path, site: Site, client: GrpcClient, made_large: Made
) -> None:
    """Measured the second time: with the first one comes what the framework keeps for good."""
    process = psutil.Process(site.server.pid)
    body = entry("large", tmp_path / "large", made_large.case.platform)
    (tmp_path / "large").symlink_to(made_large.folder)
    resident, loaded = [], 0
    for _ in range(2):
        assert reload(client, [*site.entries(), body]).error_code == 0
        loaded = resident_bytes(process)
        assert reload(client, site.entries()).error_code == 0
        wait_until(lambda: not _living(client, "large"), "the large version is gone")
        resident.append(resident_bytes(process))
    assert loaded - resident[0] > LARGE / 2, "the large model is none"
    # The second load had back what the first one left to the process.
    assert estimated_bytes(made_large) < 4 * (loaded - resident[0])
    assert estimated_bytes(made_large) > (loaded - resident[0]) / 4
    assert resident[1] - resident[0] < LARGE / 4


def estimated_bytes(made: Made) -> int:
    """What the backend says of version 1."""
    if made.case.platform == "tensorflow":
        return saved_model_bytes(str(made.version(1)))
    return Backends().named(made.case.platform).estimated_bytes(made.version(1))


def _living(client: GrpcClient, name: str) -> dict[int, int]:
    """The versions that are not at their end, and their states."""
    statuses = client.status(name).model_version_status
    return {each.version: each.state for each in statuses if each.state != _END}


def _damaged(made: Made, damage: str) -> str:
    return f"{made.name}_{damage.replace(' ', '_')}"


def _model_content(made: Made) -> bytes:
    return (made.version(1) / made.case.model_file).read_bytes()


@pytest.mark.parametrize("damage", ["empty", "cut", "noise", "of another", "of the next", "newer"])
def test_a_damaged_model_is_a_clear_state_and_all_else_goes_on(
    tmp_path: Path, site: Site, client: GrpcClient, all_made: list[Made], damage: str
) -> None:
    bodies = []
    damaged = [made for made in all_made if damage != "newer" or made.case.newer is not None]
    for made in damaged:
        place = tmp_path / made.name / "1"
        made.copy(1, place)
        path = place / made.case.model_file
        content = path.read_bytes()
        others = [other for other in all_made if other.case.platform != made.case.platform]
        match damage:
            case "empty":
                content = b""
            case "cut":
                content = content[: len(content) // 2]
            case "noise":
                content = random.Random(1).randbytes(len(content))
            case "of another":
                content = _model_content(others[0])
            case "of the next":
                content = _model_content(others[all_made.index(made) % len(others)])
            case "newer":
                assert made.case.newer is not None
                content = made.case.newer(content)
        path.write_bytes(content)
        bodies.append(entry(_damaged(made, damage), tmp_path / made.name, made.case.platform))

    with pytest.raises(grpc.RpcError):
        reload(client, [*site.entries(), *bodies])

    for made in damaged:
        name = _damaged(made, damage)
        wait_until(lambda name=name: not _living(client, name), f"{name} has failed")  # type: ignore[misc]
        code, message = status_of(site.server, 1, name)
        assert code != "OK", made.name
        assert message, made.name
        assert "Traceback" not in message, made.name
        assert_alike(client.predict(made.name, made.case.inputs), made.answers(1), made.case)
    assert reload(client, site.entries()).error_code == 0
