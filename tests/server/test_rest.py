"""REST as users of requests call it."""

import base64
import gzip
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from tests import saved_models
from tests.running import RunningServer

TIMEOUT_S = 60


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


def post(
    server: RunningServer, session: requests.Session, model: str, body: Any, **more: Any
) -> requests.Response:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    url = f"{server.url}/v1/models/{model}:predict"
    return session.post(url, data=data, timeout=TIMEOUT_S, **more)


def error(response: requests.Response) -> tuple[int, str]:
    assert response.headers["Content-Type"] == "application/json"
    body = response.json()
    assert list(body) == ["error"]
    # The layout is fixed, and there is no newline at the end.
    assert response.text.startswith('{\n    "error": "')
    assert response.text.endswith('"\n}')
    return response.status_code, body["error"]


def test_rows_come_back_as_rows(server: RunningServer, session: requests.Session) -> None:
    response = post(server, session, "half_plus_two_1", {"instances": [1.0, 2.0, 5.0]})
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    assert response.text == '{\n    "predictions": [2.5, 3.0, 4.5\n    ]\n}'


def test_columns_come_back_as_columns(server: RunningServer, session: requests.Session) -> None:
    response = post(server, session, "half_plus_two_1", {"inputs": [1.0, 2.0, 5.0]})
    assert response.status_code == 200
    expected = '{\n    "outputs": [\n        2.5,\n        3.0,\n        4.5\n    ]\n}'
    assert response.text == expected


def test_named_rows_and_columns_are_understood(
    server: RunningServer, session: requests.Session
) -> None:
    rows = post(server, session, "half_plus_two_2", {"instances": [{"x": 1}, {"x": 2.0}]})
    assert rows.json() == {"predictions": [2.5, 3.0]}
    columns = post(server, session, "half_plus_two_2", {"inputs": {"x": [1, 2.0]}})
    assert columns.json() == {"outputs": [2.5, 3.0]}


def test_several_outputs_come_back_by_name(
    server: RunningServer, session: requests.Session
) -> None:
    words = post(server, session, "lookup", {"instances": ["two", "none"]})
    assert words.json() == {"predictions": [{"id": 2, "upper": "TWO"}, {"id": -1, "upper": "NONE"}]}
    inputs = {"matrix": [[0, 1, 2], [3, 4, 5]], "vector": [1, 10, 100], "label": "ä"}
    several = post(server, session, "several", {"inputs": inputs})
    assert several.json() == {
        "outputs": {"product": [210.0, 543.0], "sum": 15.0, "label": "ä!", "shape": [2, 3]}
    }


def test_strings_may_be_sent_as_base64(server: RunningServer, session: requests.Session) -> None:
    encoded = {"b64": base64.b64encode(b"two").decode()}
    response = post(server, session, "lookup", {"instances": [encoded]})
    assert response.json() == {"predictions": [{"id": 2, "upper": "TWO"}]}


def test_an_image_model_answers_what_tensorflow_answers(
    server: RunningServer, session: requests.Session, saved_model_folder: Path
) -> None:
    inputs, outputs = saved_models.answers_of(saved_model_folder, "keras")["serving_default"]
    response = post(server, session, "keras", {"instances": inputs["image"].tolist()})
    ((_, expected),) = outputs.items()
    np.testing.assert_allclose(response.json()["predictions"], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("path", "version"),
    [
        ("versioned", 3),
        ("versioned/versions/1", 1),
        ("versioned/versions/2", 2),
        ("versioned/labels/stable", 1),
        ("versioned/labels/canary", 3),
    ],
)
def test_a_version_is_chosen_by_the_path(
    server: RunningServer, session: requests.Session, path: str, version: int
) -> None:
    response = post(server, session, path, {"instances": [0.0]})
    assert response.json() == {"predictions": [version]}


@pytest.mark.parametrize(
    ("path", "body", "code", "message"),
    [
        ("nobody", {"instances": [1]}, 404, "Servable not found for request: Latest(nobody)"),
        (
            "versioned/versions/5", {"instances": [1]}, 404,
            "Servable not found for request: Specific(versioned, 5)",
        ),
        (
            "versioned/labels/x", {"instances": [1]}, 400,
            "Unrecognized servable version label: x",
        ),
        ("versioned", b"", 400, "JSON Parse error: The document is empty"),
        ("versioned", b"abc", 400, "JSON Parse error: Invalid value. at offset: 0"),
        ("versioned", {}, 400, "Missing 'inputs' or 'instances' key"),
        (
            "versioned", {"instances": ["x"]}, 400,
            "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: "
            'JSON Value: "x" Type: String is not of expected type: float',
        ),
        (
            "versioned", {"instances": [{"z": 1}]}, 400,
            "Failed to process element: 0 key: z of 'instances' list. Error: INVALID_ARGUMENT: "
            "JSON object: does not have named input: z",
        ),
        (
            "versioned", {"signature_name": "other", "instances": [1]}, 400,
            'Serving signature name: "other" not found in signature def',
        ),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_answered_says_why(
    server: RunningServer,
    session: requests.Session,
    path: str,
    body: Any,
    code: int,
    message: str,
) -> None:
    assert error(post(server, session, path, body)) == (code, message)


def test_a_version_beyond_64_bits_gets_no_body(
    server: RunningServer, session: requests.Session
) -> None:
    response = post(server, session, f"versioned/versions/{2**63}", {"instances": [1]})
    assert (response.status_code, response.content) == (400, b"")


def test_a_model_that_fails_passes_on_its_own_words(
    server: RunningServer, session: requests.Session
) -> None:
    code, message = error(post(server, session, "loops", {"inputs": -1}))
    assert code == 400
    assert "n must be above zero" in message


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_other_methods_are_malformed(
    server: RunningServer, session: requests.Session, method: str
) -> None:
    response = session.request(method, f"{server.url}/v1/models/versioned", timeout=TIMEOUT_S)
    assert error(response) == (400, f"Malformed request: {method} /v1/models/versioned")


def test_head_is_malformed_and_without_a_body(
    server: RunningServer, session: requests.Session
) -> None:
    response = session.head(f"{server.url}/v1/models/versioned", timeout=TIMEOUT_S)
    assert (response.status_code, response.content) == (400, b"")
    # The same connection stays in step.
    assert post(server, session, "versioned", {"instances": [0]}).json() == {"predictions": [3.0]}


def test_outside_the_api_there_is_a_page_and_the_end_of_the_connection(
    server: RunningServer, session: requests.Session
) -> None:
    response = session.get(f"{server.url}/nothing", timeout=TIMEOUT_S)
    assert response.status_code == 404
    assert response.headers["Content-Type"] == "text/html"
    assert response.headers["Connection"] == "close"
    assert "<H1>Not Found</H1>" in response.text


def test_status_shows_every_version(server: RunningServer, session: requests.Session) -> None:
    response = session.get(f"{server.url}/v1/models/versioned", timeout=TIMEOUT_S)
    assert response.json() == {
        "model_version_status": [
            {
                "version": str(version),
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
            for version in (3, 2, 1)
        ]
    }


def test_status_has_the_layout_of_the_original(
    server: RunningServer, session: requests.Session
) -> None:
    response = session.get(f"{server.url}/v1/models/versioned/versions/2", timeout=TIMEOUT_S)
    assert response.text == (
        '{\n "model_version_status": [\n  {\n   "version": "2",\n   "state": "AVAILABLE",\n'
        '   "status": {\n    "error_code": "OK",\n    "error_message": ""\n   }\n  }\n ]\n}\n'
    )


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nobody", "Could not find any versions of model nobody"),
        ("versioned/versions/9", "Could not find version 9 of model versioned"),
    ],
)
def test_status_of_what_is_unknown_is_not_found(
    server: RunningServer, session: requests.Session, path: str, message: str
) -> None:
    response = session.get(f"{server.url}/v1/models/{path}", timeout=TIMEOUT_S)
    assert error(response) == (404, message)


def test_metadata_shows_inputs_and_outputs(
    server: RunningServer, session: requests.Session
) -> None:
    response = session.get(f"{server.url}/v1/models/several/metadata", timeout=TIMEOUT_S)
    metadata = response.json()
    assert metadata["model_spec"] == {"name": "several", "version": "1", "signature_name": ""}
    signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert sorted(signature["inputs"]) == ["label", "matrix", "vector"]
    assert sorted(signature["outputs"]) == ["label", "product", "shape", "sum"]
    assert signature["inputs"]["vector"]["dtype"] == "DT_FLOAT"
    assert signature["inputs"]["vector"]["tensor_shape"]["dim"] == [{"size": "-1", "name": ""}]
    assert signature["defaults"] == {}


@pytest.mark.parametrize(("choice", "version"), [("versions/2", "2"), ("labels/stable", "1")])
def test_metadata_is_of_the_version_asked_for(
    server: RunningServer, session: requests.Session, choice: str, version: str
) -> None:
    url = f"{server.url}/v1/models/versioned/{choice}/metadata"
    assert session.get(url, timeout=TIMEOUT_S).json()["model_spec"]["version"] == version


def test_the_metrics_page_counts_requests(server: RunningServer, session: requests.Session) -> None:
    def counted(status: str) -> int:
        page = session.get(f"{server.url}/metrics", timeout=TIMEOUT_S)
        assert page.headers["Content-Type"] == "text/plain"
        assert "# TYPE :tensorflow:serving:request_count counter\n" in page.text
        name = f':tensorflow:serving:request_count{{model_name="lookup",status="{status}"}} '
        lines = [line for line in page.text.splitlines() if line.startswith(name)]
        return int(lines[0].rsplit(" ", 1)[1]) if lines else 0

    before = counted("OK"), counted("INVALID_ARGUMENT")
    for _ in range(3):
        post(server, session, "lookup", {"instances": ["two"]})
    post(server, session, "lookup", {"instances": [2]})
    assert (counted("OK"), counted("INVALID_ARGUMENT")) == (before[0] + 3, before[1] + 1)


def test_the_metrics_page_takes_no_query(server: RunningServer, session: requests.Session) -> None:
    response = session.get(f"{server.url}/metrics?x=1", timeout=TIMEOUT_S)
    assert response.status_code == 400
    assert response.text == "Unexpected path: /metrics?x=1. Should be /metrics"


def test_a_gzip_body_is_unpacked(server: RunningServer, session: requests.Session) -> None:
    body = gzip.compress(json.dumps({"instances": [1.0] * 5000}).encode())
    headers = {"Content-Encoding": "gzip"}
    response = post(server, session, "half_plus_two_1", body, headers=headers)
    assert response.json() == {"predictions": [2.5] * 5000}


def test_a_damaged_gzip_body_counts_as_empty(
    server: RunningServer, session: requests.Session
) -> None:
    response = post(server, session, "versioned", b"no gzip", headers={"Content-Encoding": "gzip"})
    assert error(response) == (400, "JSON Parse error: The document is empty")


@pytest.mark.parametrize(
    ("accepted", "count", "encoding"),
    [
        pytest.param("gzip", 500, "gzip", id="a long answer for a client that takes gzip"),
        pytest.param("gzip", 5, None, id="a short answer"),
        pytest.param("identity", 500, None, id="a client that does not take gzip"),
    ],
)
def test_answers_are_compressed_where_that_was_asked_for(
    server: RunningServer,
    session: requests.Session,
    accepted: str,
    count: int,
    encoding: str | None,
) -> None:
    body = {"instances": [1.0] * count}
    response = post(server, session, "half_plus_two_1", body, headers={"Accept-Encoding": accepted})
    assert response.headers.get("Content-Encoding") == encoding
    assert response.json() == {"predictions": [2.5] * count}


def test_chunked_bodies_are_put_together(server: RunningServer, session: requests.Session) -> None:
    parts = iter([b'{"insta', b'nces": [1', b".0, 2", b".0]}"])
    url = f"{server.url}/v1/models/half_plus_two_1:predict"
    response = session.post(url, data=parts, timeout=TIMEOUT_S)
    assert response.json() == {"predictions": [2.5, 3.0]}


def test_one_connection_takes_many_requests(server: RunningServer) -> None:
    with requests.Session() as session:
        first = post(server, session, "versioned", {"instances": [0]})
        # requests keeps one connection open; a server that closes it would make it say so.
        for _ in range(50):
            response = post(server, session, "versioned", {"instances": [0]})
            assert "Connection" not in response.headers
            assert response.content == first.content


def test_a_large_body_is_answered_whole(server: RunningServer, session: requests.Session) -> None:
    x = np.arange(300_000, dtype=np.float32)
    response = post(server, session, "half_plus_two_2", {"instances": x.tolist()})
    assert response.json()["predictions"] == (x / 2 + 2).tolist()


def test_32_callers_each_get_their_own_answers(server: RunningServer) -> None:
    def caller(number: int) -> int:
        right = 0
        with requests.Session() as session:
            for turn in range(15):
                values = [number * 1000.0 + turn] * (1 + number)
                response = post(server, session, "half_plus_two_2", {"instances": values})
                right += response.json() == {"predictions": [v / 2 + 2 for v in values]}
        return right

    with ThreadPoolExecutor(32) as callers:
        assert list(callers.map(caller, range(32))) == [15] * 32
