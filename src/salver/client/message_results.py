"""Results from messages that both protocols carry, one as bytes, the other as JSON."""

from salver.backends.protobuf_wire import Message
from salver.backends.signature_def import signature_of
from salver.client.results import ModelMetadata, VersionStatus
from salver.codecs.messages import WireMessage
from salver.errors import Code, InternalError


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
    states = type(response).DESCRIPTOR.file.message_types_by_name["ModelVersionStatus"]
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
