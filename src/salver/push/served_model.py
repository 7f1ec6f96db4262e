"""A model on a running server: which version it serves, and whether a new one works there."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from salver.client import Client, Retries, Tls, VersionStatus
from salver.core.signature import Signature
from salver.errors import (
    Code,
    DeadlineExceeded,
    FailedPrecondition,
    NotFound,
    ServingError,
    Unavailable,
    error_of,
)
from salver.push.interruption import Interruption
from salver.push.question import Question

AVAILABLE = "AVAILABLE"
_LOOK_S = 0.1
_CALL_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """Which server is asked, and for how long."""

    url: str
    """As `salver.client.Client` takes it."""
    model: str
    """The model's name there."""
    wait_s: float = 300.0
    """So long a version may take until it answers, in seconds."""
    api_key: str | None = field(default=None, repr=False)
    tls: Tls | None = None


class ServedModel:
    """One model of one server."""

    def __init__(self, client: Client, options: ServerOptions) -> None:
        self._client = client
        self._url = options.url
        self._model = options.model
        self._wait_s = options.wait_s

    def version(self) -> int | None:
        """The highest version that answers; None if none does, or the model is not known yet.

        Raises:
            ServingError: the server cannot be asked.
        """
        try:
            statuses = self._client.status(self._model, timeout=_CALL_S)
        except NotFound:
            return None
        except ServingError as error:
            raise type(error)(f"{self._url} cannot be asked: {error.message}") from error
        available = [status.version for status in statuses if status.state == AVAILABLE]
        return max(available, default=None)

    def signatures(self, version: int) -> Mapping[str, Signature]:
        """Those of a version that answers.

        Raises:
            ServingError: the server cannot be asked.
        """
        found = self._client.metadata(self._model, version=version, timeout=_CALL_S)
        return found.signatures

    def wait_until_served(
        self, version: int, interruption: Interruption, *, is_new: bool = True
    ) -> str:
        """Wait until a version is the newest one that is served; what became of it, in words.

        A new one may be overtaken by one that is newer still; one that is returned to was served
        before, and has to wait for a newer one to go.

        Raises:
            ServingError: what the server says of it, or the time is over.
            Interrupted: a signal arrived.
        """
        began = time.monotonic()
        while True:
            interruption.check()
            seen = "the server has not seen it"
            try:
                statuses = self._client.status(self._model, timeout=_CALL_S)
            except (NotFound, Unavailable, DeadlineExceeded) as error:
                statuses, seen = (), error.message
            newest = max((s.version for s in statuses if s.state == AVAILABLE), default=None)
            if newest == version:
                return f"{AVAILABLE} after {time.monotonic() - began:.1f} s"
            if newest is not None and newest > version and is_new:
                return f"version {newest}, which is newer, is served"
            for status in statuses:
                if status.version == version:
                    seen = f"it is {status.state}"
                    seen += f": {status.message}" if status.message else ""
                    _require_alive(status, is_new)
            if time.monotonic() - began > self._wait_s:
                raise DeadlineExceeded(f"not {AVAILABLE} after {self._wait_s:g} s: {seen}")
            interruption.wait(_LOOK_S)

    def answers(self, version: int, question: Question | None) -> str:
        """Have a version answer a request, or tell its signatures if there is none to send.

        Raises:
            ServingError: it does not.
        """
        if question is None:
            self.signatures(version)
            return "tells its signatures"
        self._client.predict(
            self._model,
            question.inputs,
            version=version,
            signature=question.signature or None,
            outputs=question.outputs or None,
        )
        return "answers"


def _require_alive(status: VersionStatus, is_new: bool) -> None:
    """Check that there is something to wait for.

    Raises:
        ServingError: the version has ended, by an error or otherwise.
    """
    if status.state != "END":
        return
    if status.code is not Code.OK:
        raise error_of(status.code, status.message)
    if is_new:
        raise FailedPrecondition("it was unloaded again")


@contextmanager
def asked(options: ServerOptions) -> Iterator[ServedModel]:
    """Connections to a server for a `with` block.

    Raises:
        InvalidArgument: the address is none.
    """
    # Who waits for a version asks again anyway; and an address that is wrong is told at once.
    retries = Retries(attempts=1)
    with Client(options.url, tls=options.tls, api_key=options.api_key, retries=retries) as client:
        yield ServedModel(client, options)
