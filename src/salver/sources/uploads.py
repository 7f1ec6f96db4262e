"""Versions that were found half-written: whether to try them again.

A version on object storage appears file by file, in any order. One that turned out to lack
something, or that changed while it was copied, is tried again once its listing is another one
and has then stayed the same from one look to the next.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class _Doubt:
    fingerprint: str
    lacks: bool = False
    """Whether a version with just this listing was tried in vain."""
    seen: bool = False
    """Whether a look has found this listing."""


class Uploads:
    """What is known of unfinished versions, by URI. From any thread."""

    def __init__(self) -> None:
        self._doubts: dict[str, _Doubt] = {}

    def lacking(self, uri: str, fingerprint: str) -> None:
        """A version with this listing was tried, and is not whole."""
        self._doubts[uri] = _Doubt(fingerprint, lacks=True)

    def moving(self, uri: str, fingerprint: str) -> None:
        """A version has this listing now, and had another one when it was tried."""
        self._doubts[uri] = _Doubt(fingerprint)

    def forget(self, uri: str) -> None:
        """The version is whole."""
        self._doubts.pop(uri, None)

    def doubted(self, uri: str) -> bool:
        """Whether something was wrong with the version when it was last tried."""
        return uri in self._doubts

    def settled(self, uri: str, fingerprint: str) -> bool:
        """Whether a version that is looked at may be tried. To be asked once a look."""
        doubt = self._doubts.get(uri)
        if doubt is None:
            return True
        if doubt.fingerprint == fingerprint and doubt.lacks:
            return False
        if doubt.fingerprint == fingerprint and doubt.seen:
            self.forget(uri)
            return True
        self._doubts[uri] = _Doubt(fingerprint, seen=True)
        return False
