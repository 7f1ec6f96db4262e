"""The signatures of models, asked for when they are needed and kept for a while."""

from collections.abc import Callable

from salver.client.exchange import Operation
from salver.client.model_choice import ModelChoice
from salver.client.results import ModelMetadata
from salver.core.nearest import nearest
from salver.core.signature import DEFAULT_SIGNATURE, Signature
from salver.errors import NotFound

_FRESH_S = 10.0
_MOST_KEPT = 1000

AsksMetadata = Callable[[ModelChoice], Operation[ModelMetadata]]


class KnownMetadata:
    """What was learnt of models so far. From any thread: losing an entry costs a question.

    Args:
        clock: seconds.
        ask: asks the server.
    """

    def __init__(self, clock: Callable[[], float], ask: AsksMetadata) -> None:
        self._clock = clock
        self._ask = ask
        self._known: dict[tuple[str, int | None, str | None], tuple[float, ModelMetadata]] = {}

    def of(self, choice: ModelChoice) -> Operation[ModelMetadata]:
        """The metadata that is known, or the server's."""
        known = self._known.get((choice.model, choice.version, choice.label))
        # A version stays what it is, but the latest one, or a label's, is soon another.
        if known and (choice.version is not None or self._clock() - known[0] < _FRESH_S):
            return known[1]
        metadata = yield from self._ask(choice)
        self.keep(choice, metadata)
        return metadata

    def last_signature(self, choice: ModelChoice) -> Signature | None:
        """The chosen signature as it was when last asked for; None if it never was."""
        known = self._known.get((choice.model, choice.version, choice.label))
        return known and known[1].signatures.get(choice.signature or DEFAULT_SIGNATURE)

    def signature(self, choice: ModelChoice) -> Operation[Signature]:
        """The chosen signature."""
        return signature_in((yield from self.of(choice)), choice.signature)

    def keep(self, choice: ModelChoice, metadata: ModelMetadata) -> None:
        """Remember what the server said of the choice."""
        if len(self._known) >= _MOST_KEPT:
            self._known.clear()
        self._known[choice.model, choice.version, choice.label] = (self._clock(), metadata)


def signature_in(metadata: ModelMetadata, name: str) -> Signature:
    """The signature of this name; of the empty name, the default one.

    Raises:
        NotFound: there is none.
    """
    wanted = name or DEFAULT_SIGNATURE
    signature = metadata.signatures.get(wanted)
    if signature is None:
        raise NotFound(
            f"version {metadata.version} of model {metadata.name!r} has no signature {wanted!r}"
            f"{nearest(wanted, metadata.signatures)}"
        )
    return signature
