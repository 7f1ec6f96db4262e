"""Which REST request a method and a target mean.

The patterns are TensorFlow Serving's (http_rest_api_util.cc): matched against the
undecoded path with its query, ignoring case, while the verbs themselves are then
compared exactly. So `:PREDICT` matches and is malformed all the same.
"""

import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from urllib.parse import unquote_to_bytes


class Verb(Enum):
    """What a REST request asks for."""

    PREDICT = "predict"
    CLASSIFY = "classify"
    REGRESS = "regress"
    METADATA = "metadata"
    STATUS = "status"
    MISSING_MODEL = "missing model"
    VERSION_OVERFLOW = "version overflow"
    MALFORMED = "malformed"
    OUTSIDE = "outside of the API"


@dataclass(frozen=True, slots=True)
class Route:
    """A REST request, understood. Without version and label, the latest version."""

    verb: Verb
    model: str = ""
    version: int | None = None
    label: str | None = None
    api: str = ""
    """The verb's name, if it asks for an inference; as metrics have it."""


_MODEL = rb"/v1/models"
_CHOICE = rb"(?:(?:/versions/(\d+))|(?:/labels/([^/:]+)))?"
_POST = re.compile(_MODEL + rb"/([^/:]+)" + _CHOICE + rb":(classify|regress|predict)", re.I)
_GET = re.compile(_MODEL + rb"(?:/([^/:]+))?" + _CHOICE + rb"(?:/(metadata))?", re.I)
_INFERENCE = (Verb.PREDICT, Verb.CLASSIFY, Verb.REGRESS)
_MAX_VERSION = 2**63 - 1
_MALFORMED = Route(Verb.MALFORMED)
_OUTSIDE = Route(Verb.OUTSIDE)


@lru_cache(maxsize=1024)
def route(method: bytes, target: bytes) -> Route:
    """Understand a request; what fits no pattern is MALFORMED, or OUTSIDE if not under `/v1/`."""
    if target[:4].lower() != b"/v1/":
        return _OUTSIDE
    if method == b"POST":
        match = _POST.fullmatch(target)
    elif method == b"GET":
        match = _GET.fullmatch(target)
    else:
        return _MALFORMED
    if match is None:
        return _MALFORMED
    name, version, label, verb = match.groups()
    # Counted first: Python refuses to convert thousands of digits.
    version = None if version is None else version.lstrip(b"0") or b"0"
    if version is not None and (len(version) > 19 or int(version) > _MAX_VERSION):
        return Route(Verb.VERSION_OVERFLOW, _text(name or b""))
    if name is None:
        return Route(Verb.MISSING_MODEL)
    asked = _verb(method, verb)
    return Route(
        asked,
        _text(name),
        None if version is None else int(version),
        None if label is None else _text(label),
        asked.value if asked in _INFERENCE else "",
    )


def _verb(method: bytes, verb: bytes | None) -> Verb:
    if method == b"GET":
        # Any other spelling of `metadata` asks for the status, as in the original.
        return Verb.METADATA if verb == b"metadata" else Verb.STATUS
    for known in _INFERENCE:
        if verb == known.value.encode():
            return known
    return Verb.MALFORMED


def _text(raw: bytes) -> str:
    return unquote_to_bytes(raw).decode("utf-8", "surrogateescape")
