"""A model of a running server: how it is asked for, and how the server describes it."""

from dataclasses import dataclass, field

from salver.backends.signature_def import signature_def_map_of
from salver.client import Client, ModelMetadata, Tls
from salver.codecs.messages import message_class
from salver.core.nearest import nearest
from salver.core.signature import DEFAULT_SIGNATURE, Signature
from salver.errors import NotFound, ServingError
from salver.inspection.description import Description
from salver.sources.uri import redacted


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A model of a running server, as users name it."""

    url: str
    """As `salver.client.Client` takes it: `localhost:8500`, `http://localhost:8501`."""
    model: str
    version: int | None = None
    label: str | None = None
    timeout_s: float = 60.0
    api_key: str | None = field(default=None, repr=False)
    tls: Tls | None = None

    def client(self) -> Client:
        """A client of the server.

        Raises:
            ServingError: the address is none, or a certificate cannot be used.
        """
        return Client(self.url, timeout=self.timeout_s, tls=self.tls, api_key=self.api_key)

    def metadata(self, client: Client) -> ModelMetadata:
        """What the server says of the version that is meant.

        Raises:
            NotFound: there is no such model, version or label; with the nearest name of a model,
                where the server tells them, as Salver does.
            ServingError: the server cannot be asked.
        """
        try:
            return client.metadata(self.model, version=self.version, label=self.label)
        except NotFound as error:
            try:
                names = client.models()
            except ServingError:
                raise error from None
            if self.model in names:
                raise
            raise NotFound(
                f"{redacted(self.url)} serves no model {self.model!r}{nearest(self.model, names)}"
            ) from error

    def signature(self, metadata: ModelMetadata, name: str) -> Signature:
        """The signature of this name; without one, the default one, or the only one.

        Raises:
            NotFound: the model has no such signature.
        """
        signatures = metadata.signatures
        if not name and DEFAULT_SIGNATURE not in signatures and len(signatures) == 1:
            return next(iter(signatures.values()))
        wanted = name or DEFAULT_SIGNATURE
        if wanted not in signatures:
            raise NotFound(
                f"model {self.model} of {redacted(self.url)} has no signature {wanted!r}"
                f"{nearest(wanted, signatures)}"
            )
        return signatures[wanted]


def served_description(served: ServedModel) -> Description:
    """The model as a server states it; its own name for the version that it takes.

    Raises:
        ServingError: the server cannot be asked, or has no such model, version or label.
    """
    with served.client() as client:
        metadata = served.metadata(client)
        states = {each.version: each.state for each in client.status(served.model)}
    definitions = message_class("tensorflow.serving.SignatureDefMap")()
    definitions.ParseFromString(signature_def_map_of(metadata.signatures.values()))
    return Description(
        path="",
        model=metadata.name,
        url=redacted(served.url),
        number=metadata.version,
        backend="",
        signatures=dict(definitions.signature_def),
        states=states,
    )
