"""Base paths that are URIs: which file system they belong to, and what of them may be shown."""

import re

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9.]*)://")
_USER = re.compile(r"(?<=://)([^/\s'\"]*)@")
_SECRET = re.compile(
    r"([?&][^=&\s]*(?:sig|token|secret|password|credential|key)[^=&\s]*=)[^&\s'\"]+", re.IGNORECASE
)

_SHORTEST_SECRET = 4
"""Less is no secret, but a piece of many a word."""


def scheme_of(path: str) -> str:
    """`s3` for `S3://bucket/model`; nothing for a path of this machine, `file:` URIs included."""
    match = _SCHEME.match(path)
    scheme = match[1].lower() if match else ""
    return "" if scheme == "file" else scheme


def redacted(text: str, uri: str = "") -> str:
    """The text without the users, passwords and signatures that URIs in it carry.

    The user and the password of `uri` are not shown in any form, be it that of a URI or not.
    """
    match = _USER.search(uri)
    if match:
        for secret in (match[1], match[1].partition(":")[2]):
            if len(secret) >= _SHORTEST_SECRET:
                text = text.replace(secret, "***")
    return _SECRET.sub(r"\1***", _USER.sub("***@", text))
