"""The names of the models: `GET /salver/models` as JSON, and `salver.Models/ListModels` over gRPC.

TensorFlow Serving has nothing there, so no client of it is answered otherwise.
"""

import json
from collections.abc import Mapping

from salver.codecs.messages import message_class
from salver.service.health import Health
from salver.transport.exchange import Handler, HttpRequest, HttpResponse, Message, UnaryCall
from salver.transport.grpc_messages import framed, parsed

_PATH = b"/salver/models"
_JSON = b"application/json"


class ModelList:
    """The page, and the service. Loop only."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def page(self, request: HttpRequest) -> HttpResponse | None:
        """The answer to a request for the page; None for any other."""
        if request.target != _PATH or request.method not in (b"GET", b"HEAD"):
            return None
        body = json.dumps({"models": self._health.configured_models}, indent=1)
        return HttpResponse(200, _JSON, body.encode() + b"\n")

    def handlers(self) -> Mapping[bytes, Handler]:
        return {b"/salver.Models/ListModels": self._list_models}

    def _list_models(self, call: UnaryCall, message: Message) -> None:
        parsed("salver.ListModelsRequest", message)
        names = list(self._health.configured_models)
        call.succeed(framed(message_class("salver.ListModelsResponse")(names=names)))
