"""A model described by the server that runs it."""

from salver.backends.signature_def import signature_def_map_of
from salver.client import Client
from salver.codecs.messages import message_class
from salver.inspection.description import Description
from salver.sources.uri import redacted


def served_description(
    url: str, model: str, version: int | None = None, label: str | None = None
) -> Description:
    """The model as a server states it; its own name for the version that it takes.

    Raises:
        ServingError: the server cannot be asked, or has no such model, version or label.
    """
    with Client(url) as client:
        metadata = client.metadata(model, version=version, label=label)
        states = {each.version: each.state for each in client.status(model)}
    definitions = message_class("tensorflow.serving.SignatureDefMap")()
    definitions.ParseFromString(signature_def_map_of(metadata.signatures.values()))
    return Description(
        path="",
        model=metadata.name,
        url=redacted(url),
        number=metadata.version,
        backend="",
        signatures=dict(definitions.signature_def),
        states=states,
    )
