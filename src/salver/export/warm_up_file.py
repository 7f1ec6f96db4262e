"""Warm-up requests from sample inputs: what a server plays before a version becomes available.

A TFRecord file of `tensorflow.serving.PredictionLog`, `assets.extra/tf_serving_warmup_requests`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from salver.codecs.messages import WireMessage, message_class
from salver.codecs.tensor_encoder import encode_tensor
from salver.codecs.tf_record import record
from salver.core.data_type import DataType, data_type_of, numpy_type_of
from salver.core.nearest import nearest
from salver.core.signature import DEFAULT_SIGNATURE, Signature, TensorSpec
from salver.errors import InvalidArgument

FILE_NAME = "assets.extra/tf_serving_warmup_requests"
_MOST = 1000
_CLASSIFY = "tensorflow/serving/classify"
_REGRESS = "tensorflow/serving/regress"
Example = Mapping[str, Any] | bytes
"""A `tf.Example`: values by feature, or serialized."""


@dataclass(frozen=True, slots=True)
class WarmUp:
    """One request."""

    inputs: Mapping[str, Any] | Sequence[Example]
    """Arrays by name; for a signature that reads Examples also a list of them."""
    signature: str = ""
    """Empty: the default one."""


WarmUps = Sequence[WarmUp | Mapping[str, Any] | Sequence[Example]]
Features = Mapping[str, Mapping[str, Any]]
"""By signature, what type each feature of its Examples is: the features of `parse_example`."""


def write_warm_up(
    folder: Path,
    model_name: str,
    requests: WarmUps,
    signatures: Mapping[str, Signature],
    features: Features,
) -> None:
    """Write the requests into the version in `folder`; without any, nothing.

    Raises:
        InvalidArgument: a request does not fit its signature.
    """
    if len(requests) > _MOST:
        raise InvalidArgument(f"warm_up has {len(requests)} requests; servers take {_MOST}")
    records = []
    for index, request in enumerate(requests):
        one = request if isinstance(request, WarmUp) else WarmUp(request)
        records.append(_record(one, f"warm_up[{index}]", model_name, signatures, features))
    if records:
        path = folder / FILE_NAME
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"".join(map(record, records)))


def _record(
    request: WarmUp,
    where: str,
    model_name: str,
    signatures: Mapping[str, Signature],
    features: Features,
) -> bytes:
    name = request.signature or DEFAULT_SIGNATURE
    signature = signatures.get(name)
    if signature is None:
        raise InvalidArgument(f"{where}: there is no signature {name!r}{nearest(name, signatures)}")
    inputs = request.inputs
    log = message_class("salver.LoggedCall")()
    if signature.method_name in (_CLASSIFY, _REGRESS):
        is_classify = signature.method_name == _CLASSIFY
        call = (log.classify_log if is_classify else log.regress_log).request
        examples = _examples(inputs, "inputs", where, features.get(name, {}))
        call.input.example_list.examples.extend(examples)
    else:
        call = log.predict_log.request
        for alias, array in _arrays(inputs, where, signature, features.get(name)).items():
            call.inputs[alias] = encode_tensor(array)
    call.model_spec.name = model_name
    call.model_spec.signature_name = name
    content: bytes = log.SerializeToString()
    return content


def _arrays(
    inputs: Any, where: str, signature: Signature, features: Mapping[str, Any] | None
) -> dict[str, np.ndarray]:
    """The inputs of a predict signature, each of the type and shape that it takes."""
    if features is not None:
        (alias,) = signature.inputs
        examples = _examples(inputs, alias, where, features)
        array = np.empty(len(examples), object)
        array[:] = examples
        return {alias: array}
    if not isinstance(inputs, Mapping):
        raise InvalidArgument(
            f"{where} is {type(inputs).__name__}; it must be a mapping from the inputs of "
            f"signature {signature.name!r}, {', '.join(map(repr, signature.inputs))}, to arrays"
        )
    for name in inputs:
        if name not in signature.inputs:
            raise InvalidArgument(
                f"{where}: signature {signature.name!r} has no input {name!r}"
                f"{nearest(name, signature.inputs)}"
            )
    missing = [n for n in signature.inputs if n not in inputs and n not in signature.defaults]
    if missing:
        raise InvalidArgument(
            f"{where}: signature {signature.name!r} needs {', '.join(map(repr, missing))}, too"
        )
    return {
        name: _array(value, signature.inputs[name], f"{where}: input {name!r}")
        for name, value in inputs.items()
    }


def _array(value: Any, spec: TensorSpec, where: str) -> np.ndarray:
    wanted = numpy_type_of(spec.data_type)
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InvalidArgument(f"{where} is no array: {error}") from error
    if spec.data_type is DataType.STRING:
        if array.dtype.kind not in "SUO":
            raise InvalidArgument(f"{where} is {array.dtype}; the signature takes strings")
    elif data_type_of(array.dtype) is not spec.data_type:
        fits = wanted is not None and np.can_cast(array.dtype, wanted, "same_kind")
        if not fits:
            raise InvalidArgument(f"{where} is {array.dtype}; the signature takes {wanted}")
        assert wanted is not None
        array = array.astype(wanted)
    shape = spec.shape
    if shape is not None and (
        len(shape) != array.ndim
        or any(size not in (-1, found) for size, found in zip(shape, array.shape, strict=True))
    ):
        told = ", ".join("?" if size < 0 else str(size) for size in shape)
        raise InvalidArgument(
            f"{where} has the shape {list(array.shape)}; the signature takes [{told}]"
        )
    return array


def _examples(inputs: Any, alias: str, where: str, features: Mapping[str, Any]) -> list[bytes]:
    if (
        isinstance(inputs, Mapping)
        and set(inputs) == {alias}
        and not isinstance(inputs[alias], str | bytes)
    ):
        inputs = inputs[alias]
    if isinstance(inputs, Mapping | str | bytes) or not len(inputs):
        raise InvalidArgument(
            f"{where}: the signature reads Examples: give a list of them, [{{'age': 22.0}}] "
            "for example"
        )
    return [_example(each, f"{where}[{index}]", features) for index, each in enumerate(inputs)]


def _example(example: Any, where: str, features: Mapping[str, Any]) -> bytes:
    if isinstance(example, bytes):
        return example
    if not isinstance(example, Mapping):
        raise InvalidArgument(
            f"{where} is {type(example).__name__}; an Example is a mapping from features to values"
        )
    message = message_class("tensorflow.Example")()
    for name, value in example.items():
        if features and name not in features:
            raise InvalidArgument(f"{where}: there is no feature {name!r}{nearest(name, features)}")
        kind = getattr(getattr(features.get(name), "dtype", None), "name", "")
        _fill(message.features.feature[name], value, kind, f"{where}: feature {name!r}")
    content: bytes = message.SerializeToString()
    return content


def _fill(feature: WireMessage, value: Any, kind: str, where: str) -> None:
    """Write values into a feature; `kind` is the type that the model expects, if it is known."""
    values = np.asarray(value).ravel()
    if values.dtype.kind in "SUO":
        if kind not in ("", "string"):
            raise InvalidArgument(f"{where} is {values.dtype}; it must be {kind}")
        for each in values.tolist():
            feature.bytes_list.value.append(each if isinstance(each, bytes) else str(each).encode())
    elif kind == "float32" or (not kind and values.dtype.kind == "f"):
        feature.float_list.value.extend(values.astype(np.float32).tolist())
    elif values.dtype.kind in "iub" and kind != "string":
        feature.int64_list.value.extend(values.astype(np.int64).tolist())
    else:
        raise InvalidArgument(f"{where} is {values.dtype}; it must be {kind}")
