"""`GET /salver/models/{model}/batching`: how requests are batched now, as JSON.

Outside of `/v1/`, where TensorFlow Serving has no pages, so no client of its can miss one.
"""

import json
import re
from urllib.parse import unquote_to_bytes

from salver.codecs.json_response import encode_error
from salver.errors import ServingError
from salver.service.batching import Batching
from salver.transport.exchange import HttpRequest, HttpResponse
from salver.transport.http_status import HTTP_STATUS

_PATH = re.compile(rb"/salver/models/([^/?]+)/batching")
_JSON = b"application/json"


class BatchingPage:
    """The page of every model. Loop only."""

    def __init__(self, batching: Batching) -> None:
        self._batching = batching

    def page(self, request: HttpRequest) -> HttpResponse | None:
        """The answer, if the request is for such a page."""
        match = _PATH.fullmatch(request.target)
        if match is None or request.method not in (b"GET", b"HEAD"):
            return None
        model = unquote_to_bytes(match[1]).decode("utf-8", "surrogateescape")
        try:
            report = self._batching.of(model)
        except ServingError as error:
            return HttpResponse(HTTP_STATUS[error.code], _JSON, encode_error(error.message))
        body = json.dumps(report, indent=1).encode() + b"\n"
        return HttpResponse(200, _JSON, body)
