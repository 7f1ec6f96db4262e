"""The signatures of a TFLite file, as TensorFlow Serving shows them (tflite_session.cc).

Where the file's metadata has signature definitions, these; else one that has an
alias for each input and output of the main graph. TFLite's own definitions are
unknown to TensorFlow Serving and served only if that is asked for.
"""

from collections.abc import Collection, Mapping, Sequence

from salver.backends.protobuf_wire import Message, encoded_content
from salver.backends.signature_def import map_entry, shape_proto, tensor_info
from salver.backends.tflite_file import LiteFile, LiteSignature, LiteTensor
from salver.core.signature import DEFAULT_SIGNATURE
from salver.errors import AlreadyExists, InternalError, InvalidArgument

_PREDICT = b"tensorflow/serving/predict"

_INPUTS, _OUTPUTS, _METHOD_NAME, _DEFAULTS = 1, 2, 3, 4
"""Fields of `tensorflow.SignatureDef`."""
_NAME = 1
"""A field of `tensorflow.TensorInfo`."""

Entries = dict[str, bytes]
"""Map entries of a name and a SignatureDef, serialized, by name, in order of name."""


def by_name(kind: str, tensors: Sequence[LiteTensor]) -> dict[str, LiteTensor]:
    """The inputs or outputs of the main graph by name, in order of name.

    Raises:
        AlreadyExists: two have the same name, or the same one comes twice.
    """
    named = {tensor.name: tensor for tensor in tensors}
    if len(named) != len(tensors):
        names = [tensor.name for tensor in tensors]
        twice = next(name for name in names if names.count(name) > 1)
        raise AlreadyExists(f"{kind} tensor name: {twice} has multiple indices")
    return dict(sorted(named.items()))


def known_name(name: str, names: Collection[str]) -> str:
    """The name that a tensor of TensorFlow, `x:0`, has in the file, where it may be `x`.

    Raises:
        InternalError: the file has no such tensor.
    """
    for candidate in (name, _alias(name)):
        if candidate in names:
            return candidate
    raise InternalError(f"Unknown tensor '{name}'.")


def metadata_entries(file: LiteFile, inputs: Collection[str], outputs: Collection[str]) -> Entries:
    """The signatures in the metadata, with the names that the tensors have in the file.

    Raises:
        InvalidArgument: they cannot be read.
        InternalError: one names a tensor that the file does not have.
    """
    try:
        entries = {
            name: map_entry(name, _renamed(definition, inputs, outputs))
            for name, definition in file.metadata_signatures().items()
        }
    except ValueError as error:
        raise InvalidArgument(
            "Invalid SignatureDefs found in TfLite model: "
            "Cannot parse signature def found in flatbuffer."
        ) from error
    return dict(sorted(entries.items()))


def default_entry(inputs: Mapping[str, LiteTensor], outputs: Mapping[str, LiteTensor]) -> Entries:
    """The one signature of a file that says nothing of signatures."""
    # Of names that differ only after the colon, the last one gets the alias.
    definition = _definition(
        {
            _alias(name): tensor_info(name, tensor.data_type, _shape(tensor.shape))
            for name, tensor in inputs.items()
        },
        {
            _alias(name): tensor_info(name, tensor.data_type, _shape(tensor.shape))
            for name, tensor in outputs.items()
        },
    )
    return {DEFAULT_SIGNATURE: map_entry(DEFAULT_SIGNATURE, definition)}


def own_signatures(file: LiteFile) -> list[LiteSignature]:
    """TFLite's own signatures.

    Raises:
        InvalidArgument: they cannot be read.
        InternalError: an input or output has a type that cannot be served.
    """
    try:
        return file.own_signatures()
    except ValueError as error:
        raise InvalidArgument(f"Invalid signatures found in TfLite model: {error}") from error


def own_entries(signatures: Sequence[LiteSignature]) -> Entries:
    """The same as entries; the tensors are called `<signature>/<alias>`."""
    entries = {}
    for signature in signatures:
        inputs, outputs = (
            {
                alias: tensor_info(
                    own_name(signature, alias),
                    tensor.data_type,
                    _shape(tensor.signature_shape),
                )
                for alias, tensor in sorted(tensors.items())
            }
            for tensors in (signature.inputs, signature.outputs)
        )
        entries[signature.key] = map_entry(signature.key, _definition(inputs, outputs))
    return dict(sorted(entries.items()))


def own_name(signature: LiteSignature, alias: str) -> str:
    """What a tensor of a signature of TFLite's own is called here: its own name may come twice."""
    return f"{signature.key}/{alias}"


def _alias(name: str) -> str:
    return name.partition(":")[0]


def _definition(inputs: Mapping[str, bytes], outputs: Mapping[str, bytes]) -> bytes:
    return _map(_INPUTS, inputs) + _map(_OUTPUTS, outputs) + encoded_content(_METHOD_NAME, _PREDICT)


def _map(number: int, infos: Mapping[str, bytes]) -> bytes:
    return b"".join(
        encoded_content(number, map_entry(alias, info)) for alias, info in infos.items()
    )


def _shape(sizes: Sequence[int]) -> bytes | None:
    # A scalar has no shape at all here, as in the original.
    return shape_proto(sizes) if sizes else None


def _renamed(definition: bytes, inputs: Collection[str], outputs: Collection[str]) -> bytes:
    message = Message(memoryview(definition))
    method_name = message.content(_METHOD_NAME)
    return (
        _map(_INPUTS, _infos(message, _INPUTS, "input", inputs))
        + _map(_OUTPUTS, _infos(message, _OUTPUTS, "output", outputs))
        + (encoded_content(_METHOD_NAME, method_name) if method_name else b"")
        + b"".join(encoded_content(_DEFAULTS, entry) for entry in message.contents(_DEFAULTS))
    )


def _infos(message: Message, number: int, kind: str, names: Collection[str]) -> dict[str, bytes]:
    infos = {}
    for content in message.contents(number):
        entry = Message(content)
        alias = entry.text(1)
        try:
            name = known_name(Message(entry.content(2)).text(_NAME), names)
        except InternalError as error:
            raise InternalError(
                f"{error.message}\n\tSignature {kind} {alias} references an unknown tensor"
            ) from error
        # Of a field that comes twice, the last one counts.
        infos[alias] = bytes(entry.content(2)) + encoded_content(_NAME, name.encode())
    return infos
