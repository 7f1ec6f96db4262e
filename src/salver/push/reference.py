"""The version that a new one is compared with: the one that is served, or the newest there."""

from collections.abc import Mapping
from contextlib import ExitStack

from salver.backends.registry import Backends
from salver.core.signature import Signature
from salver.errors import NotFound, ServingError
from salver.inspection.finding import FoundVersion, versions_at
from salver.inspection.opening import OpenModel, OpenOptions
from salver.push.apart import opened_apart
from salver.push.served_model import ServedModel


class Reference:
    """Found and opened when it is needed; `close` lets it go.

    A version that cannot be loaded is none to compare with: servers go on with the one before.
    """

    def __init__(
        self,
        base_path: str,
        options: OpenOptions,
        backends: Backends,
        run_limit_s: float,
        served: ServedModel | None,
    ) -> None:
        self._base_path = base_path
        self._options = options
        self._backends = backends
        self._run_limit_s = run_limit_s
        self._served = served
        self._stack = ExitStack()
        self._model: OpenModel | None = None
        self.number: int | None = None
        """Of the version, once it is known."""

    def signatures(self) -> Mapping[str, Signature] | None:
        """Those that clients have to go on with; None if there is no version.

        Raises:
            ServingError: neither the server nor the storage can be asked.
        """
        if self._served is not None:
            self.number = self._served.version()
            if self.number is not None:
                return self._served.signatures(self.number)
        model = self.model()
        return None if model is None else model.signatures

    def model(self) -> OpenModel | None:
        """The version, loaded in a process of its own; None if there is none.

        Raises:
            ServingError: the storage cannot be asked, or no version there can be loaded.
        """
        if self._model is not None:
            return self._model
        failure: ServingError | None = None
        for version in self._candidates():
            try:
                self._model = self._stack.enter_context(
                    opened_apart(version, self._options, self._backends, self._run_limit_s)
                )
            except ServingError as error:
                failure = failure or error
                continue
            self.number = version.number
            return self._model
        if failure is not None:
            raise failure
        return None

    def _candidates(self) -> list[FoundVersion]:
        """The versions that may be compared with, best first."""
        try:
            found = versions_at(self._base_path, self._backends)
        except NotFound:
            return []
        newest_first = found[::-1]
        if self._served is not None and self.number is None:
            self.number = self._served.version()
        served = [version for version in newest_first if version.number == self.number]
        return served or newest_first

    def close(self) -> None:
        """End the process."""
        self._stack.close()
