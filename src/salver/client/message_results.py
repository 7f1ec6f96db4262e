"""Results from messages that both protocols carry, one as bytes, the other as JSON."""

import numpy as np
from google.protobuf.message import Message as ProtobufMessage

from salver.backends.protobuf_wire import Message
from salver.backends.signature_def import signature_of
from salver.client.results import Classification, ModelMetadata, Regression, VersionStatus
from salver.codecs.messages import WireMessage, message_class, parse_text
from salver.errors import Code, InternalError, InvalidArgument

TELLS_NO_NAMES = (
    "this server does not tell the names of its models: Salver does, TensorFlow Serving does not"
)
_CONFIG = "tensorflow.serving.ModelServerConfig"


def metadata_of(spec: WireMessage, definitions: bytes) -> ModelMetadata:
    """From a ModelSpec and a serialized SignatureDefMap.

    Raises:
        InternalError: the bytes are no SignatureDefMap.
    """
    try:
        entries = Message(memoryview(definitions)).contents(1)
        signatures = [signature_of(bytes(entry)) for entry in entries]
    except ValueError as error:
        raise InternalError(f"the server's answer is no SignatureDefMap: {error}") from error
    signatures.sort(key=lambda signature: signature.name)
    return ModelMetadata(
        spec.name, spec.version.value, {signature.name: signature for signature in signatures}
    )


def statuses_of(response: WireMessage) -> tuple[VersionStatus, ...]:
    """From a GetModelStatusResponse."""
    states = message_class("tensorflow.serving.ModelVersionStatus").DESCRIPTOR
    names = states.enum_types_by_name["State"].values_by_number
    known = {code.value for code in Code}
    return tuple(
        VersionStatus(
            entry.version,
            names[entry.state].name if entry.state in names else str(entry.state),
            Code(entry.status.error_code) if entry.status.error_code in known else Code.UNKNOWN,
            entry.status.error_message,
        )
        for entry in response.model_version_status
    )


def classification_of(
    result: WireMessage, model: str, version: int | None, signature: str
) -> Classification:
    """From a ClassificationResult."""
    rows = [[(one.label, one.score) for one in row.classes] for row in result.classifications]
    return classification_of_rows(rows, model, version, signature)


def classification_of_rows(
    rows: list[list[tuple[str, float]]], model: str, version: int | None, signature: str
) -> Classification:
    """From labels and scores, a list for each example.

    Raises:
        InternalError: the examples have different numbers of classes.
    """
    count = len(rows[0]) if rows else 0
    if any(len(row) != count for row in rows):
        raise InternalError("the server's answer has examples of different numbers of classes")
    labels = np.empty((len(rows), count), object)
    scores = np.zeros((len(rows), count), np.float32)
    for index, row in enumerate(rows):
        labels[index] = [label for label, _ in row]
        scores[index] = [score for _, score in row]
    return Classification(labels, scores, model, version, signature)


def regression_of(
    result: WireMessage, model: str, version: int | None, signature: str
) -> Regression:
    """From a RegressionResult."""
    values = np.array([regression.value for regression in result.regressions], np.float32)
    return Regression(values, model, version, signature)


def config_message(config: str | ProtobufMessage) -> WireMessage:
    """A ModelServerConfig from its text, or from a message of any implementation of it.

    Raises:
        InvalidArgument: it is none.
    """
    if isinstance(config, str):
        return parse_text(_CONFIG, config)
    if config.DESCRIPTOR.full_name != _CONFIG:
        raise InvalidArgument(f"a {config.DESCRIPTOR.full_name} is no {_CONFIG}")
    message = message_class(_CONFIG)()
    message.ParseFromString(config.SerializeToString())
    return message
