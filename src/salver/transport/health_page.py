"""`/healthz/live` and `/healthz/ready`: what a scheduler asks over HTTP, on every port.

TensorFlow Serving has nothing there, so no client of it is answered otherwise.
"""

import json

from salver.service.health import Condition, Health
from salver.transport.exchange import HttpRequest, HttpResponse

_JSON = b"application/json"
_LIVE = b"/healthz/live"
_READY = b"/healthz/ready"
_MAX_LISTED = 100


class HealthPages:
    """The two pages. Loop only."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def page(self, request: HttpRequest) -> HttpResponse | None:
        """The answer to a request for one of the pages; None for any other."""
        if request.method not in (b"GET", b"HEAD"):
            return None
        path = request.target.partition(b"?")[0]
        if path == _LIVE:
            # Whoever gets an answer knows by that: the loop turns.
            return _page(200, {"live": True})
        return self._readiness() if path == _READY else None

    def _readiness(self) -> HttpResponse:
        unready = self._health.unready_models()
        is_leaving = self._health.server() is not Condition.SERVING
        if not unready and not is_leaving:
            return _page(200, {"ready": True})
        facts: dict[str, object] = {"ready": False}
        if is_leaving:
            facts["draining"] = True
        if unready:
            facts["models"] = dict(list(unready.items())[:_MAX_LISTED])
        if len(unready) > _MAX_LISTED:
            facts["more_models"] = len(unready) - _MAX_LISTED
        return _page(503, facts)


def _page(status: int, facts: dict[str, object]) -> HttpResponse:
    return HttpResponse(status, _JSON, json.dumps(facts).encode() + b"\n")
