"""TensorFlow Serving's REST API: predict, classify, regress, status, metadata, metrics.

Source: http_rest_api_handler.cc and http_server.cc; which codes and texts come out is
the codecs' and the services' business, here they become HTTP.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter

from salver.codecs.json_examples import ExamplesBody
from salver.codecs.json_metadata import encode_metadata
from salver.codecs.json_request import PredictBody
from salver.codecs.json_response import (
    encode_classify,
    encode_error,
    encode_predict,
    encode_regress,
    encode_status,
)
from salver.core.signature import DEFAULT_SIGNATURE
from salver.errors import Code, InvalidArgument, ServingError, unexpected_error
from salver.service.example_signature import Classification, Method
from salver.service.examples import Examples, Inference
from salver.service.metadata import Metadata
from salver.service.opening import Opening
from salver.service.predict import Predict, Prediction
from salver.service.status import Status
from salver.telemetry.request_record import RequestRecord
from salver.telemetry.serving_metrics import ServingMetrics
from salver.transport.compression import (
    GZIP_WINDOW_BITS,
    MAX_INFLATED_BYTES,
    Damaged,
    TooLarge,
    gzipped,
    inflate,
    takes_gzip,
)
from salver.transport.exchange import Cancel, HttpRequest, HttpResponse, Page, Respond
from salver.transport.http_status import HTTP_STATUS, html_page
from salver.transport.off_loop import off_loop
from salver.transport.routes import Route, Verb, route

logger = logging.getLogger(__name__)

_JSON = b"application/json"
_HTML = b"text/html"
_TEXT = b"text/plain"
_METHODS = {Verb.CLASSIFY: Method.CLASSIFY, Verb.REGRESS: Method.REGRESS}
# libevent's own default, which is all that a preflight gets.
_PREFLIGHT = b"text/html; charset=ISO-8859-1"
_CORS_HEADERS = (
    (b"Access-Control-Allow-Origin", b"*"),
    (b"Access-Control-Allow-Methods", b"POST, GET"),
    (b"Access-Control-Allow-Headers", b"Content-Type"),
)
# Above these, a body takes some milliseconds to read, and an answer to write: on a thread.
_LONG_BODY_BYTES = 2 * 1024 * 1024
_MANY_VALUES = 50_000
_DEAR_BODY_BYTES = 64 * 1024
"""To read a longer one only to refuse the request would cost more than to ask before."""
_VERSION_HEADER = b"salver-model-version"
"""A request that has it is told in the same header of its answer which version answered. Others,
all those of TensorFlow Serving's clients, get no header that they do not know."""
_GZIP_HEADERS = ((b"Content-Encoding", b"gzip"), (b"Vary", b"Accept-Encoding"))


@dataclass(frozen=True, slots=True)
class RestOptions:
    """What the flags say about REST."""

    timeout_s: float | None = 30.0
    """Longest run of a model for a request; None: no limit."""
    cors: bool = False
    """Whether every answer under /v1/ carries CORS headers."""
    compression_min_bytes: int = 0
    """Answers of this size are compressed for clients that take gzip; 0: none are."""
    metrics_path: str | None = None
    """Path of the Prometheus page; None: there is none."""


class RestApi:
    """The application behind HTTP/1.1 and plain HTTP/2. Loop only."""

    def __init__(
        self,
        options: RestOptions,
        opening: Opening,
        predict: Predict,
        examples: Examples,
        status: Status,
        metadata: Metadata,
        metrics: ServingMetrics,
        loop_time: Callable[[], float],
        pages: Sequence[Page] = (),
    ) -> None:
        self._opening = opening
        self._predict = predict
        self._examples = examples
        self._status = status
        self._metadata = metadata
        self._metrics = metrics
        self._loop_time = loop_time
        self._pages = pages
        self._timeout_s = options.timeout_s
        self._compression_min_bytes = options.compression_min_bytes
        self._headers = _CORS_HEADERS if options.cors else ()
        path = options.metrics_path
        self._metrics_path = None if path is None else path.encode()

    def handle(self, request: HttpRequest, respond: Respond) -> Cancel | None:
        """Answer one request; see `HttpApplication`."""
        target = request.target
        found = route(request.method, target)
        verb = found.verb
        if verb is Verb.OUTSIDE or verb is Verb.MALFORMED:
            if self._has_metrics_path(target):
                respond(self._metrics_page(target))
                return None
            if verb is Verb.OUTSIDE:
                respond(self._outside(request))
                return None
            if request.method == b"OPTIONS":
                respond(self._preflight(request))
                return None
        wants_gzip = self._compression_min_bytes > 0 and takes_gzip(
            request.header(b"accept-encoding")
        )
        exchange = _Exchange(self, found, respond, wants_gzip, request.record)
        exchange.tells_version = bool(request.header(_VERSION_HEADER))
        if request.record is not None:
            request.record.asks(found.model)
        try:
            return self._dispatch(exchange, request)
        except Exception as error:  # noqa: BLE001 - the request boundary
            exchange.fail_by(error)
        return None

    def _dispatch(self, exchange: "_Exchange", request: HttpRequest) -> Cancel | None:
        found = exchange.route
        if found.api:
            if b"gzip" not in request.header(b"content-encoding"):
                self._infer(exchange, request.body)
            else:
                cancel = inflate(
                    request.body,
                    GZIP_WINDOW_BITS,
                    MAX_INFLATED_BYTES,
                    partial(self._inflated, exchange),
                )
                if cancel is not None:
                    exchange.cancel = cancel
            return exchange.give_up if exchange.cancel is not None else None
        if found.verb is Verb.STATUS:
            statuses = self._status.of(found.model, found.version)
            exchange.succeed(
                encode_status(
                    [
                        (
                            status.version,
                            status.state.name,
                            status.error.code if status.error else Code.OK,
                            status.error.message if status.error else "",
                        )
                        for status in statuses
                    ]
                )
            )
        elif found.verb is Verb.METADATA:
            id_, definition = self._metadata.of(found.model, found.version, found.label)
            if exchange.record is not None:
                exchange.record.opened(id_)
            exchange.succeed(encode_metadata(id_.name, id_.version, definition))
        elif found.verb is Verb.MISSING_MODEL:
            raise InvalidArgument("Missing model name in request.")
        elif found.verb is Verb.VERSION_OVERFLOW:
            exchange.refuse_version()
        elif found.verb is Verb.MALFORMED:
            described = request.method + b" " + request.target
            raise InvalidArgument(
                f"Malformed request: {described.decode('utf-8', 'surrogateescape')}"
            )
        return None

    def _inflated(self, exchange: "_Exchange", outcome: bytes | Damaged | TooLarge) -> None:
        # As in TensorFlow Serving, a body that cannot be unpacked counts as empty.
        body = outcome if isinstance(outcome, bytes) else b""
        exchange.cancel = None
        try:
            self._infer(exchange, body)
        except Exception as error:  # noqa: BLE001 - the request boundary
            exchange.fail_by(error)

    def _infer(self, exchange: "_Exchange", body: bytes | bytearray) -> None:
        """Answer, or set going what will, with `exchange.cancel` to break it off."""
        verb = exchange.route.verb
        if verb is Verb.PREDICT:
            self._run_predict(exchange, body)
        else:
            self._run_examples(exchange, body, _METHODS[verb])

    def _run_predict(self, exchange: "_Exchange", body: bytes | bytearray) -> None:
        if len(body) >= _DEAR_BODY_BYTES:
            refusal = self._refusal_unread(exchange.route)
            if refusal is not None:
                exchange.fail(refusal)
                return
        if len(body) < _LONG_BODY_BYTES:
            self._predict_parsed(exchange, PredictBody.parse(body))
        else:
            work = partial(PredictBody.parse, body)
            exchange.cancel = off_loop(work, partial(self._parsed, exchange), exchange.fail_by)

    def _refusal_unread(self, found: Route) -> ServingError | None:
        """Find out, before a long body is read, whether its request is refused anyway.

        The error for one whose servable takes nothing more at present.
        """
        try:
            handle = self._opening.open(found.model, found.version, found.label)
        except ServingError:
            return None  # To be told in its turn: what is wrong with the body comes first.
        try:
            return self._predict.refusal_by_all(handle, self._deadline())
        finally:
            handle.release()

    def _parsed(self, exchange: "_Exchange", parsed: PredictBody) -> None:
        exchange.cancel = None
        try:
            self._predict_parsed(exchange, parsed)
        except Exception as error:  # noqa: BLE001 - the request boundary
            exchange.fail_by(error)

    def _predict_parsed(self, exchange: "_Exchange", parsed: PredictBody) -> None:
        found = exchange.route
        record = exchange.record
        if record is not None:
            record.asks(found.model, parsed.signature_name or DEFAULT_SIGNATURE)
        handle = self._opening.open(found.model, found.version, found.label)
        exchange.version = handle.id.version
        if record is not None:
            record.opened(handle.id)
        try:
            prepared = self._predict.named_signature(handle, parsed.signature_name)
            inputs = parsed.inputs(prepared.signature)
            ordered = [inputs[name] for name in prepared.input_names]
        except BaseException:
            handle.release()
            raise
        deadline = self._deadline()
        answer = partial(exchange.predicted, parsed.row_format)
        run = self._predict.run(handle, prepared, ordered, (), deadline, answer)
        if run is not None:
            exchange.cancel = run.abandon

    def _run_examples(self, exchange: "_Exchange", body: bytes | bytearray, method: Method) -> None:
        parsed = ExamplesBody.parse(body)
        found = exchange.route
        record = exchange.record
        if record is not None:
            record.asks(found.model, parsed.signature_name or DEFAULT_SIGNATURE)
        handle = self._opening.open(found.model, found.version, found.label)
        exchange.version = handle.id.version
        if record is not None:
            record.opened(handle.id)
        try:
            question = self._examples.question(handle, parsed.signature_name, method)
        except BaseException:
            handle.release()
            raise
        deadline = self._deadline()
        answer = exchange.inferred
        run = self._examples.run(handle, [question], parsed.examples, deadline, answer, method.api)
        if run is not None:
            exchange.cancel = run.abandon

    def _deadline(self) -> float | None:
        return None if self._timeout_s is None else self._loop_time() + self._timeout_s

    def _preflight(self, request: HttpRequest) -> HttpResponse:
        origin = request.header(b"origin")
        known = b"http://" in origin or b"https://" in origin
        if known:
            self._metrics.request_succeeded("", "", "REST", perf_counter())
        else:
            self._metrics.request_failed("", Code.FAILED_PRECONDITION)
        return HttpResponse(200 if known else 400, _PREFLIGHT, b"", self._headers)

    def _outside(self, request: HttpRequest) -> HttpResponse:
        """The answer to a request that is not under `/v1/`."""
        for page in self._pages:
            response = page(request)
            if response is not None:
                return response
        return HttpResponse(404, _HTML, html_page(404), closes=True)

    def _has_metrics_path(self, target: bytes) -> bool:
        path = self._metrics_path
        return path is not None and target.startswith(path) and target.partition(b"?")[0] == path

    def _metrics_page(self, target: bytes) -> HttpResponse:
        assert self._metrics_path is not None
        if target != self._metrics_path:
            wrong = b"Unexpected path: %b. Should be %b" % (target, self._metrics_path)
            return HttpResponse(400, _TEXT, wrong)
        return HttpResponse(200, _TEXT, self._metrics.page().encode("utf-8", "surrogateescape"))

    def answered(self, found: Route, started: float) -> None:
        self._metrics.request_succeeded(found.model, found.api, "REST", started)

    def failed(self, found: Route, error: ServingError) -> HttpResponse:
        self._metrics.request_failed(found.model, error.code)
        return HttpResponse(
            HTTP_STATUS[error.code], _JSON, encode_error(error.message), self._headers
        )

    def answer(
        self, body: bytes, compresses: bool, more: tuple[tuple[bytes, bytes], ...] = ()
    ) -> HttpResponse:
        headers = (*self._headers, *more)
        if compresses and len(body) >= self._compression_min_bytes:
            return HttpResponse(200, _JSON, gzipped(body), (*headers, *_GZIP_HEADERS))
        return HttpResponse(200, _JSON, body, headers)


class _Exchange:
    """One request under /v1/ and its way back."""

    __slots__ = (
        "_api", "_respond", "_started", "_takes_gzip", "cancel", "record", "route",
        "tells_version", "version",
    )  # fmt: skip

    def __init__(
        self,
        api: RestApi,
        found: Route,
        respond: Respond,
        wants_gzip: bool,
        record: RequestRecord | None,
    ) -> None:
        self._api = api
        self._respond = respond
        self._takes_gzip = wants_gzip
        self._started = perf_counter()
        self.route = found
        self.cancel: Cancel | None = None
        self.record = record
        self.tells_version = False
        self.version: int | None = None
        """Of the model, once it is open."""

    def give_up(self) -> None:
        """The client does not wait any more."""
        if self.cancel is not None:
            self.cancel()

    def succeed(self, body: bytes) -> None:
        self._api.answered(self.route, self._started)
        told: tuple[tuple[bytes, bytes], ...] = ()
        if self.tells_version and self.version is not None:
            told = ((_VERSION_HEADER, b"%d" % self.version),)
        self._respond(self._api.answer(body, self._takes_gzip, told))

    def fail(self, error: ServingError) -> None:
        self._respond(self._api.failed(self.route, error))

    def fail_by(self, error: Exception) -> None:
        """The same for whatever was raised; what nobody expected is logged."""
        self.cancel = None
        self.fail(_expected(error))

    def refuse_version(self) -> None:
        """A version beyond 64 bits gets the status of an error but no body, as there."""
        response = self._api.failed(self.route, InvalidArgument(""))
        response.body = b""
        self._respond(response)

    def predicted(
        self, row_format: bool, prediction: Prediction | None, error: ServingError | None
    ) -> None:
        self.cancel = None
        if prediction is None:
            assert error is not None
            self.fail(error)
            return
        try:
            outputs = dict(zip(prediction.output_names, prediction.outputs, strict=True))
            values = 0
            for array in prediction.outputs:
                values += array.size
            if values >= _MANY_VALUES:
                work = partial(encode_predict, outputs, row_format)
                self.cancel = off_loop(work, self.encoded, self.fail_by)
                return
            body = encode_predict(outputs, row_format)
        except Exception as failure:  # noqa: BLE001 - the request boundary
            self.fail_by(failure)
        else:
            self.succeed(body)

    def encoded(self, body: bytes) -> None:
        """An answer that was long in the making is there."""
        self.cancel = None
        self.succeed(body)

    def inferred(self, inferences: list[Inference] | None, error: ServingError | None) -> None:
        self.cancel = None
        if inferences is None:
            assert error is not None
            self.fail(error)
            return
        result = inferences[0].result
        try:
            if isinstance(result, Classification):
                body = encode_classify(result.classes, result.scores)
            else:
                body = encode_regress(result.values)
        except Exception as failure:  # noqa: BLE001 - the request boundary
            self.fail_by(failure)
        else:
            self.succeed(body)


def _expected(error: Exception) -> ServingError:
    """The error to answer with; what nobody expected is logged."""
    if isinstance(error, ServingError):
        return error
    logger.error("Unexpected error in a REST request", exc_info=error)
    return unexpected_error()
