import asyncio
import gzip
import json
import logging
import random
import threading
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from salver.core.data_type import DataType
from salver.core.handle import Handle
from salver.core.servable import ServableId
from salver.core.signature import Signature, TensorSpec
from salver.core.state import State, VersionStatus
from salver.errors import DataLoss, NotFound
from salver.execution.prepared import PreparedServable
from salver.execution.runner import Runner, RunnerOptions
from salver.service.examples import Examples
from salver.service.metadata import Metadata
from salver.service.opening import Opening
from salver.service.predict import Predict
from salver.service.status import Status
from salver.telemetry.serving_metrics import ServingMetrics
from salver.transport.exchange import Cancel, HttpRequest, HttpResponse
from salver.transport.rest import RestApi, RestOptions
from tests.fakes import LIMIT_S, turn_loop

PREDICT = b"/v1/models/m:predict"
ROWS = b'{"instances": [1.0, 2.0]}'
X = {"x": TensorSpec("x:0", DataType.FLOAT, (-1,))}
Y = {"y": TensorSpec("y:0", DataType.FLOAT, (-1,))}


class Doubling:
    """A model with one input and one output; waits and fails as told."""

    signature_def_map = b""
    signatures = {"serving_default": Signature("serving_default", X, Y)}  # noqa: RUF012

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.outputs: list[Any] | None = None
        self.runs = 0
        self.gate = threading.Event()
        self.gate.set()

    def program(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> "Doubling":
        return self

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        self.runs += 1
        assert self.gate.wait(LIMIT_S)
        if self.error is not None:
            raise self.error
        return [inputs[0] * 2] if self.outputs is None else self.outputs


class Unreadable:
    """What no backend should give: it looks like an array and is none."""

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise RuntimeError("it has been freed")


class Statuses:
    def statuses(self, name: str) -> Sequence[VersionStatus]:
        error = DataLoss('it is "broken"')
        known = [VersionStatus(2, State.END, error), VersionStatus(1, State.AVAILABLE)]
        return known if name == "m" else []


class Site:
    """The API over one model; what it answers is noted."""

    def __init__(
        self, options: RestOptions | None = None, inline_budget_s: float = float("inf")
    ) -> None:
        self.model = Doubling()
        self.handle = Handle(ServableId("m", 1), PreparedServable(self.model))
        self.metrics = ServingMetrics()
        self.runner = Runner(RunnerOptions(1, inline_budget_s))
        self.answers: list[HttpResponse] = []
        opening = Opening(self)
        self._api = RestApi(
            options or RestOptions(),
            opening,
            Predict(self.runner, self.metrics.runs),
            Examples(self.runner, self.metrics.runs),
            Status(Statuses()),
            Metadata(opening),
            self.metrics,
            lambda: asyncio.get_running_loop().time() if inline_budget_s < 0 else 0.0,
        )

    def open(self, name: str, version: int | None, label: str | None) -> Handle[PreparedServable]:
        if name != "m":
            raise NotFound(f"Servable not found for request: Latest({name})")
        self.handle.uses += 1
        return self.handle

    def send(
        self, method: bytes, target: bytes, body: bytes = b"", *headers: tuple[bytes, bytes]
    ) -> Cancel | None:
        request = HttpRequest(method, target, list(headers), body)
        return self._api.handle(request, self.answers.append)

    def ask(
        self, method: bytes, target: bytes, body: bytes = b"", *headers: tuple[bytes, bytes]
    ) -> HttpResponse:
        assert self.send(method, target, body, *headers) is None
        return self.answers.pop()


GZIP = (b"content-encoding", b"gzip")
MIB = 1024 * 1024


def gzip_of(*pieces: bytes) -> bytes:
    deflater = zlib.compressobj(1, zlib.DEFLATED, 31)
    return b"".join([*map(deflater.compress, pieces), deflater.flush()])


class GatedExecutor(ThreadPoolExecutor):
    """Its work begins when the test opens the gate."""

    def __init__(self) -> None:
        super().__init__(1)
        self.gate = threading.Event()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        def work() -> Any:
            assert self.gate.wait(LIMIT_S)
            return fn(*args, **kwargs)

        return super().submit(work)


def gated() -> GatedExecutor:
    """From here on, what the loop hands to threads waits for a gate."""
    executor = GatedExecutor()
    asyncio.get_running_loop().set_default_executor(executor)
    return executor


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await turn_loop(1)


def error_of(response: HttpResponse) -> str:
    assert response.content_type == b"application/json"
    text: str = json.loads(response.body)["error"]
    return text


def test_rows_go_in_and_come_out() -> None:
    site = Site()
    response = site.ask(b"POST", PREDICT, ROWS)
    assert (response.status, response.content_type) == (200, b"application/json")
    assert json.loads(response.body) == {"predictions": [2.0, 4.0]}
    assert response.headers == ()
    assert site.handle.uses == 0
    columns = site.ask(b"POST", PREDICT, b'{"inputs": [3.0]}')
    assert json.loads(columns.body) == {"outputs": [6.0]}


@pytest.mark.parametrize("target", [b"/", b"/v2/models/m", b"/v1", b"/v1models", b"*", b""])
def test_what_is_not_under_v1_is_a_page_that_ends_the_connection(target: bytes) -> None:
    response = Site(RestOptions(cors=True)).ask(b"GET", target)
    assert (response.status, response.content_type) == (404, b"text/html")
    assert b"<H1>Not Found</H1>" in response.body
    assert response.closes
    assert response.headers == ()


@pytest.mark.parametrize(
    ("method", "target", "status", "message"),
    [
        (b"GET", b"/v1/", 400, "Malformed request: GET /v1/"),
        (b"POST", b"/v1/models/m", 400, "Malformed request: POST /v1/models/m"),
        (b"POST", PREDICT + b"?x=1", 400, "Malformed request: POST /v1/models/m:predict?x=1"),
        (b"POST", b"/v1/models/m:PREDICT", 400, "Malformed request: POST /v1/models/m:PREDICT"),
        (b"HEAD", b"/v1/models/m", 400, "Malformed request: HEAD /v1/models/m"),
        (b"DELETE", b"/V1/models/m", 400, "Malformed request: DELETE /V1/models/m"),
        (b"GET", b"/v1/models", 400, "Missing model name in request."),
        (b"GET", b"/v1/models/m?x=1", 404, "Could not find any versions of model m?x=1"),
        (b"GET", b"/v1/models/m/versions/9", 404, "Could not find version 9 of model m"),
        (b"POST", b"/v1/models/n:predict", 404, "Servable not found for request: Latest(n)"),
        (b"GET", b"/v1/models/n/metadata", 404, "Servable not found for request: Latest(n)"),
    ],
)
def test_requests_that_mean_nothing_are_told_so_in_json(
    method: bytes, target: bytes, status: int, message: str
) -> None:
    response = Site().ask(method, target, ROWS)
    assert (response.status, error_of(response)) == (status, message)


def test_a_version_beyond_64_bits_has_the_status_of_an_error_but_no_body() -> None:
    for method, verb in ((b"GET", b""), (b"POST", b":predict")):
        response = Site().ask(method, b"/v1/models/m/versions/" + b"9" * 19 + b"9" + verb, ROWS)
        assert (response.status, response.content_type) == (400, b"application/json")
        assert response.body == b""


def test_the_status_lists_versions_with_their_errors() -> None:
    body = json.loads(Site().ask(b"GET", b"/v1/models/m/labels/ignored").body)
    first, second = body["model_version_status"]
    assert (first["version"], first["state"]) == ("2", "END")
    assert first["status"] == {"error_code": "DATA_LOSS", "error_message": 'it is "broken"'}
    assert second["status"] == {"error_code": "OK", "error_message": ""}


def test_a_body_in_gzip_is_inflated_and_a_damaged_one_counts_as_empty() -> None:
    site = Site()
    packed, header = gzip.compress(ROWS), (b"content-encoding", b"gzip")
    assert json.loads(site.ask(b"POST", PREDICT, packed, header).body) == {
        "predictions": [2.0, 4.0]
    }
    damaged = site.ask(b"POST", PREDICT, packed[:-1], header)
    assert damaged.status == 400
    assert error_of(damaged).startswith("JSON Parse error: The document is empty")


async def test_a_body_of_5_mb_may_come_as_a_few_kb() -> None:
    site = Site()
    body = b'{"instances": [1.0, 2.0]' + b" " * 5_000_000 + b"}"
    cancel = site.send(b"POST", PREDICT, gzip.compress(body), GZIP)
    assert cancel is not None
    await until(lambda: site.answers)
    [response] = site.answers
    assert json.loads(response.body) == {"predictions": [2.0, 4.0]}
    assert site.handle.uses == 0


async def test_a_bomb_is_refused_and_others_are_answered_in_the_meantime() -> None:
    site, executor = Site(), gated()
    bomb = gzip_of(random.Random(1).randbytes(900_000), *[b" " * MIB] * 100)
    assert len(bomb) < 1_500_000
    assert site.send(b"POST", PREDICT, bomb, GZIP) is not None
    assert json.loads(site.ask(b"POST", PREDICT, ROWS).body) == {"predictions": [2.0, 4.0]}
    await turn_loop()
    assert not site.answers
    executor.gate.set()
    await until(lambda: site.answers)
    [response] = site.answers
    assert response.status == 400
    assert error_of(response).startswith("JSON Parse error: The document is empty")


async def test_what_is_cancelled_while_it_is_unpacked_never_reaches_the_model() -> None:
    site, executor = Site(), gated()
    body = gzip.compress(ROWS + b" " * 5_000_000)
    cancel = site.send(b"POST", PREDICT, body, GZIP)
    assert site.send(b"POST", PREDICT, body, GZIP) is not None
    assert cancel is not None
    cancel()
    executor.gate.set()
    await until(lambda: site.answers)
    await turn_loop(100)
    assert [response.status for response in site.answers] == [200]
    assert site.model.runs == 1
    assert site.handle.uses == 0


@pytest.mark.parametrize("padding", [0, 5_000_000], ids=["at once", "beside the loop"])
async def test_what_was_unpacked_and_runs_on_a_worker_can_be_cancelled(padding: int) -> None:
    site = Site(inline_budget_s=-1.0)
    site.runner.start()
    site.model.gate.clear()
    cancel = site.send(b"POST", PREDICT, gzip.compress(ROWS + b" " * padding), GZIP)
    await until(lambda: site.handle.uses)
    assert cancel is not None
    cancel()
    site.model.gate.set()
    await until(lambda: not site.handle.uses)
    await turn_loop()
    assert not site.answers
    site.runner.stop()


async def test_an_error_in_what_was_unpacked_beside_the_loop_is_answered() -> None:
    site = Site()
    for body, text in (
        (b"{" + b" " * 5_000_000, "JSON Parse error: "),
        (b'{"instances": ["a"]' + b" " * 5_000_000 + b"}", "Failed to process element: 0 "),
    ):
        site.send(b"POST", PREDICT, gzip.compress(body), GZIP)
        await until(lambda: site.answers)
        response = site.answers.pop()
        assert response.status == 400
        assert error_of(response).startswith(text)
    assert site.handle.uses == 0


@pytest.mark.parametrize("refusal", [b"gzip;q=0", b"br, gzip; q=0.0", b"GZIP;Q=0"])
def test_who_refuses_gzip_gets_none(refusal: bytes) -> None:
    site = Site(RestOptions(compression_min_bytes=1))
    response = site.ask(b"POST", PREDICT, ROWS, (b"accept-encoding", refusal))
    assert json.loads(response.body) == {"predictions": [2.0, 4.0]}
    assert not response.headers


def test_answers_are_packed_for_clients_that_take_it_from_the_size_on_that_is_set() -> None:
    accepts = (b"accept-encoding", b"gzip, br")
    plain = Site().ask(b"POST", PREDICT, ROWS, accepts)
    size = len(plain.body)
    assert (b"Content-Encoding", b"gzip") not in plain.headers
    packed = Site(RestOptions(compression_min_bytes=size)).ask(b"POST", PREDICT, ROWS, accepts)
    assert packed.headers == ((b"Content-Encoding", b"gzip"), (b"Vary", b"Accept-Encoding"))
    assert gzip.decompress(packed.body) == plain.body
    small = Site(RestOptions(compression_min_bytes=size + 1)).ask(b"POST", PREDICT, ROWS, accepts)
    assert small.body == plain.body
    deaf = Site(RestOptions(compression_min_bytes=1)).ask(b"POST", PREDICT, ROWS)
    assert deaf.body == plain.body


CORS = {
    b"Access-Control-Allow-Origin": b"*",
    b"Access-Control-Allow-Methods": b"POST, GET",
    b"Access-Control-Allow-Headers": b"Content-Type",
}


def test_cors_headers_are_on_every_answer_under_v1_if_asked_for() -> None:
    site = Site(RestOptions(cors=True, metrics_path="/metrics"))
    origin = (b"origin", b"https://example.org")
    answers = [
        site.ask(b"POST", PREDICT, ROWS),
        site.ask(b"POST", PREDICT, b"{"),
        site.ask(b"OPTIONS", b"/v1/x", b"", origin),
        site.ask(b"OPTIONS", b"/v1/x"),
    ]
    assert [answer.status for answer in answers] == [200, 400, 200, 400]
    assert all(dict(answer.headers) == CORS for answer in answers)
    assert site.ask(b"GET", b"/metrics").headers == ()


@pytest.mark.parametrize(
    ("origin", "status"),
    [(b"http://a", 200), (b"https://a", 200), (b"null", 400), (b"", 400)],
)
def test_a_preflight_is_answered_without_a_body(origin: bytes, status: int) -> None:
    response = Site().ask(b"OPTIONS", b"/v1/models/m:predict", b"", (b"origin", origin))
    assert (response.status, response.body) == (status, b"")
    assert response.content_type == b"text/html; charset=ISO-8859-1"


def test_the_metrics_page_is_at_its_exact_path_for_any_method() -> None:
    site = Site(RestOptions(metrics_path="/m"))
    for method in (b"GET", b"POST", b"DELETE"):
        page = site.ask(method, b"/m")
        assert (page.status, page.content_type) == (200, b"text/plain")
        assert page.body.startswith(b"# TYPE ")
    wrong = site.ask(b"GET", b"/m?x=1")
    assert (wrong.status, wrong.content_type) == (400, b"text/plain")
    assert wrong.body == b"Unexpected path: /m?x=1. Should be /m"
    assert site.ask(b"GET", b"/M").status == 404
    assert Site().ask(b"GET", b"/m").status == 404


def test_every_request_under_v1_is_counted() -> None:
    site = Site()
    site.ask(b"POST", PREDICT, ROWS)
    site.ask(b"GET", b"/v1/models/m")
    site.ask(b"POST", PREDICT, b"{")
    site.ask(b"GET", b"/v1/models/none")
    site.ask(b"GET", b"/v1/")
    site.ask(b"OPTIONS", b"/v1/", b"", (b"origin", b"http://a"))
    site.ask(b"GET", b"/other")
    name = ":tensorflow:serving:request_"
    lines = site.metrics.page().splitlines()
    counts = {line for line in lines if line.startswith(f"{name}count{{")}
    assert counts == {
        f'{name}count{{model_name="m",status="OK"}} 2',
        f'{name}count{{model_name="m",status="INVALID_ARGUMENT"}} 1',
        f'{name}count{{model_name="none",status="NOT_FOUND"}} 1',
        f'{name}count{{model_name="",status="INVALID_ARGUMENT"}} 1',
        f'{name}count{{model_name="",status="OK"}} 1',
    }
    latencies = {line for line in lines if line.startswith(f"{name}latency_count")}
    assert latencies == {
        f'{name}latency_count{{model_name="m",API="predict",entrypoint="REST"}} 1',
        f'{name}latency_count{{model_name="m",API="",entrypoint="REST"}} 1',
        f'{name}latency_count{{model_name="",API="",entrypoint="REST"}} 1',
    }


@pytest.mark.parametrize(
    ("body", "error"),
    [
        pytest.param(b"{", None, id="no JSON"),
        pytest.param(b'{"instances": ["a"]}', None, id="wrong type"),
        pytest.param(b'{"signature_name": "s", "instances": [1]}', None, id="no such signature"),
        pytest.param(ROWS, NotFound("no row"), id="the model fails"),
        pytest.param(ROWS, OSError("disk"), id="the model crashes"),
    ],
)
def test_the_handle_is_released_whatever_fails(body: bytes, error: Exception | None) -> None:
    site = Site()
    site.model.error = error
    assert site.ask(b"POST", PREDICT, body).status in (400, 404, 500)
    assert site.handle.uses == 0


def test_an_answer_that_cannot_be_written_is_logged_and_becomes_internal(
    caplog: pytest.LogCaptureFixture,
) -> None:
    site = Site()
    site.model.outputs = [Unreadable()]
    response = site.ask(b"POST", PREDICT, ROWS)
    assert response.status == 500
    assert error_of(response) == "Unexpected error in the server; its log has the details"
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert site.handle.uses == 0


async def test_a_request_that_runs_on_a_worker_can_be_cancelled() -> None:
    site = Site(inline_budget_s=-1.0)
    site.runner.start()
    site.model.gate.clear()
    cancel = site.send(b"POST", PREDICT, ROWS)
    assert cancel is not None
    cancel()
    site.model.gate.set()
    async with asyncio.timeout(LIMIT_S):
        while site.handle.uses:
            await turn_loop(1)
    assert not site.answers
    site.runner.stop()


async def test_a_model_that_takes_too_long_is_answered_with_504() -> None:
    site = Site(RestOptions(timeout_s=0.001), inline_budget_s=-1.0)
    site.runner.start()
    site.model.gate.clear()
    site.send(b"POST", PREDICT, ROWS)
    async with asyncio.timeout(LIMIT_S):
        while not site.answers:
            await turn_loop(1)
    [response] = site.answers
    assert (response.status, error_of(response)) == (504, "Timed out waiting for notification")
    assert site.handle.uses == 1
    site.model.gate.set()
    async with asyncio.timeout(LIMIT_S):
        while site.handle.uses:
            await turn_loop(1)
    site.runner.stop()


LONG_ROWS = b'{"instances": [' + b"1.5, " * 500_000 + b"1.5]}"


async def answered(site: Site) -> HttpResponse:
    async with asyncio.timeout(LIMIT_S):
        while not site.answers:  # noqa: ASYNC110 - a thread answers, through the loop
            await asyncio.sleep(0)
    [answer] = site.answers
    return answer


async def test_a_long_body_is_read_and_its_answer_written_on_threads() -> None:
    site = Site()
    assert site.send(b"POST", PREDICT, LONG_ROWS) is not None
    assert not site.model.runs
    answer = await answered(site)
    assert answer.status == 200
    assert json.loads(answer.body) == {"predictions": [3.0] * 500_001}
    assert site.handle.uses == 0


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (LONG_ROWS[:-2], "JSON Parse error: Missing a comma or ']' after an array element."),
        (LONG_ROWS[:-2] + b', "a"]}', "Failed to process element: 500001 of 'instances' list."),
        (LONG_ROWS.replace(b"instances", b"instanzen"), "Missing 'inputs' or 'instances' key"),
    ],
    ids=["its grammar", "a value", "its members"],
)
async def test_a_long_body_that_is_wrong_gets_the_error_of_a_short_one(
    body: bytes, error: str
) -> None:
    site = Site()
    site.send(b"POST", PREDICT, body)
    answer = await answered(site)
    assert answer.status == 400
    assert json.loads(answer.body)["error"].startswith(error)
    assert site.handle.uses == 0


async def test_what_is_cancelled_while_its_long_body_is_read_never_reaches_the_model() -> None:
    site = Site()
    cancel = site.send(b"POST", PREDICT, LONG_ROWS)
    assert cancel is not None
    cancel()
    # The same threads do this work later: by then the other is over.
    await asyncio.get_running_loop().run_in_executor(None, lambda: None)
    await turn_loop()
    assert not site.model.runs
    assert not site.answers


async def test_what_is_cancelled_while_its_long_answer_is_written_is_not_answered() -> None:
    site = Site()
    site.model.outputs = [np.zeros(200_000, np.float32)]
    cancel = site.send(b"POST", PREDICT, ROWS)
    assert cancel is not None
    assert site.model.runs
    cancel()
    await asyncio.get_running_loop().run_in_executor(None, lambda: None)
    await turn_loop()
    assert not site.answers


async def test_a_long_answer_that_cannot_be_written_is_an_error() -> None:
    site = Site()
    site.model.outputs = [np.zeros(200_000, np.complex64)]
    site.send(b"POST", PREDICT, ROWS)
    answer = await answered(site)
    assert answer.status == 400
    assert b"Failed to write JSON value for tensor type: complex64" in answer.body


def test_who_asks_for_the_version_is_told_it_and_nobody_else() -> None:
    api = Site()
    asking = (b"salver-model-version", b"?")
    body = b'{"instances": [1]}'
    answer = api.ask(b"POST", b"/v1/models/m:predict", body, asking)
    assert answer.headers == ((b"salver-model-version", b"1"),)
    assert api.ask(b"POST", b"/v1/models/m:predict", body).headers == ()
    assert api.ask(b"POST", b"/v1/models/other:predict", body, asking).headers == ()


async def test_a_long_body_is_not_read_when_its_request_would_be_refused_anyway() -> None:
    site = Site(inline_budget_s=-1.0)
    site.runner.start()
    long = b'{"instances": [' + b"1.0, " * 20_000 + b"1.0]}"
    site.model.gate.clear()
    assert site.send(b"POST", PREDICT, long) is not None
    await until(lambda: site.model.runs)
    site.runner.stop()
    # What is wrong with a short body, or with the name of the model, is told all the same.
    assert site.ask(b"POST", PREDICT, b"{").status == 400
    assert site.ask(b"POST", PREDICT, long + b"}").status == 503
    assert site.ask(b"POST", b"/v1/models/other:predict", long).status == 404
    site.model.gate.set()
    await until(lambda: site.answers)
    assert site.answers.pop().status == 200
    assert site.handle.uses == 0
