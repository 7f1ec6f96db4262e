"""The codecs, each alone: in the process, and each against a second opinion where there is one."""

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from salver.backends.signature_def import signature_entries, signature_of
from salver.codecs import json_conversion, json_tensor
from salver.codecs.json_examples import ExamplesBody
from salver.codecs.json_parser import ABSENT, parse, parse_members
from salver.codecs.json_quote import Node
from salver.codecs.json_request import PredictBody
from salver.codecs.messages import message_class, parse_text
from salver.codecs.predict_codec import (
    decode_predict_request,
    encode_predict_response,
    first_tensor_data,
)
from salver.codecs.tensor_decoder import decode_tensor
from salver.codecs.tensor_encoder import encode_tensor
from salver.config.model_config import from_message, validate, validate_platforms
from salver.core.data_type import DataType, data_type_of
from salver.core.servable import ServableId
from salver.core.signature import Signature, TensorSpec
from salver.errors import InvalidArgument, ServingError
from salver.execution.prepared import PreparedServable
from salver.transport.warm_up import WarmUp
from tests.fuzz import seeds, structure
from tests.fuzz.border import Border, Codec, Plan, require
from tests.fuzz.model import Everything

_MEMBERS = (b"signature_name", b"instances", b"inputs")
_TYPES = (
    DataType.FLOAT, DataType.DOUBLE, DataType.INT32, DataType.INT16, DataType.INT8, DataType.UINT8,
    DataType.INT64, DataType.UINT32, DataType.UINT64, DataType.STRING, DataType.BOOL,
)  # fmt: skip
_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_MOST_ELEMENTS = 1 << 16
_DIGITS = re.compile(r"\d+|'[^']*'|\"[^\"]*\"")


def in_short(error: ServingError) -> str:
    """The kind of an error, without what differs from input to input."""
    return _DIGITS.sub("_", error.status)[:60]


def _signature(**kinds: DataType) -> Signature:
    inputs = {name: TensorSpec(f"{name}:0", kind, None) for name, kind in kinds.items()}
    return Signature("serving_default", inputs, {})


_SIGNATURES = [
    *(_signature(x=kind) for kind in _TYPES),
    _signature(x=DataType.HALF),
    _signature(a=DataType.FLOAT, b=DataType.STRING, c=DataType.INT64),
    _signature(),
]


# --- JSON -------------------------------------------------------------------------------


def check_json(data: bytes) -> str:
    """One grammar for all who read a body; the quick way to an array is not another one."""
    try:
        document = parse(data)
    except InvalidArgument as error:
        try:
            PredictBody.parse(data)
        except InvalidArgument as other:
            require(error.message == other.message, f"{error.message} or {other.message}?")
        else:
            require(False, f"read by one, refused by the other: {error.message}")
        return in_short(error)
    outcome = _check_examples(data)
    try:
        PredictBody.parse(data)
    except InvalidArgument as error:
        return f"{outcome}, {in_short(error)}"
    members = parse_members(data, _MEMBERS)
    assert members is not None
    assert isinstance(document, tuple)
    for signature in _SIGNATURES:
        found = _check_arrays(data, document, members, signature)
        if found:
            outcome += f", {len(signature.inputs)}: {found}"
    return outcome[:200]


def _check_arrays(
    data: bytes, document: tuple[Node, ...], members: list[object], sign: Signature
) -> str:
    _, instances, inputs = members
    quick = None
    if sign.inputs and inputs is ABSENT and instances is not ABSENT:
        quick = json_tensor.rows(instances, sign.inputs, len(data))
    elif sign.inputs and instances is ABSENT and inputs is not ABSENT:
        quick = json_tensor.columns(inputs, sign.inputs, len(data))
    body = PredictBody.parse(data)
    try:
        arrays = body.inputs(sign)
    except ServingError as error:
        require(quick is None, f"the quick way gave an array, the slow one {error.message}")
        return ""
    if quick:
        slow = _slowly(document, body.row_format, sign)
        require(quick.keys() == slow.keys(), "other inputs than the slow way")
        for name, array in quick.items():
            _require_same(array, slow[name])
    return " ".join(f"{array.dtype.char}{array.ndim}" for array in arrays.values())


def _slowly(
    document: tuple[Node, ...], row_format: bool, signature: Signature
) -> dict[str, np.ndarray]:
    found = json_conversion.find_member(document, b"instances" if row_format else b"inputs")
    assert found is not None
    if not row_format:
        return json_conversion.columns(found[0], signature.inputs)
    assert isinstance(found[0], list)
    return json_conversion.rows(found[0], signature.inputs)


def _require_same(array: np.ndarray, other: np.ndarray) -> None:
    require(array.dtype == other.dtype, f"{array.dtype} is not {other.dtype}")
    require(array.shape == other.shape, f"{array.shape} is not {other.shape}")
    if array.dtype.kind != "f":
        require(array.tolist() == other.tolist(), f"{array} is not {other}")
        return
    # The slow way rounds as the original does, which is off by a bit now and then.
    digits = 1e-6 if array.dtype == np.float32 else 1e-14
    with np.errstate(over="ignore", invalid="ignore"):
        close = np.isclose(array, other, rtol=digits, atol=0, equal_nan=True)
    tiny = np.abs(array) < 1e-300 if array.dtype == np.float64 else np.abs(array) < 1.3e-38
    require(bool(np.all(close | tiny)), f"{array} is not {other}")


def _check_examples(data: bytes) -> str:
    try:
        body = ExamplesBody.parse(data)
    except InvalidArgument as error:
        return in_short(error)
    for example in body.examples:
        # Names of features may be no UTF-8, which only the model's own parser minds.
        try:
            message_class("tensorflow.Example").FromString(example)
        except DecodeError:
            require(not _is_text(data), f"{example!r} is no Example")
    return "examples"


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return b"\\u" not in data


def check_numbers(data: bytes) -> str:
    """Numbers between commas, at the end of the text too, are what Python takes them for."""
    outcomes = []
    for token in data[:2000].split(b","):
        for body in (b'{"instances":[%b]}', b'{"instances":[0.25,%b ]}', b'{"inputs":%b}'):
            outcomes.append(_check_number(token, body % token))
        # Where the text ends, the number does: nothing beyond may be looked at.
        for unfinished in (b'{"instances":[%b', b'{"inputs":%b', b'{"other":%b'):
            if b"}" in token:
                continue
            try:
                parse_members(unfinished % token, _MEMBERS)
            except InvalidArgument as error:
                outcomes.append(error.message[:30])
            else:
                require(False, f"{unfinished % token!r} has no end")
    return " ".join(outcomes)[:80]


def _check_number(token: bytes, body: bytes) -> str:
    match = _NUMBER.fullmatch(token.strip(b" \t\r\n"))
    try:
        members = parse_members(body, _MEMBERS)
    except InvalidArgument as error:
        if match is not None:
            require("too big" in error.message, f"{body!r}: {error.message}")
            # Nothing times ten to the thousandth is too big as well, and what is too big before its
            # exponent.
            whole = re.split(rb"[.eE]", match[0])[0]
            large = (
                max(abs(float(match[0])), abs(float(whole))) > 1e306
                or int((match[2] or b"e0")[1:]) > 300
            )
            require(large, f"{body!r} is not too big")
        return "refused"
    if match is None:
        return "other"
    double = _as(members, DataType.DOUBLE)
    expected = float(match[0])
    if abs(expected) < 2.2250738585072014e-308:
        expected = math.copysign(0.0, expected)
    if match[1] or match[2]:
        same = math.copysign(1, double) == math.copysign(1, expected)
        require(same, f"{body!r}: sign of {double}")
    # At the very border of the range one counts as zero and the other does not.
    near = abs(expected) < 2.3e-308 and double == 0
    require(double == expected or near, f"{body!r}: {double!r}, not {expected!r}")
    if match[1] or match[2] or b"0.25" in body:
        return "real"
    integer = _as(members, DataType.UINT64 if match[0][:1] != b"-" else DataType.INT64)
    whole = int(match[0])
    fits = -(2**63) <= whole < 2**64
    require(integer == whole if fits else integer is None, f"{body!r}: {integer}")
    return "integer"


def _as(members: list[object] | None, kind: DataType) -> float:
    assert members is not None
    inputs = {"x": TensorSpec("x:0", kind, None)}
    if members[2] is not ABSENT:
        arrays = json_tensor.columns(members[2], inputs, 1000)
    else:
        arrays = json_tensor.rows(members[1], inputs, 1000)
    if arrays is None:
        return None  # type: ignore[return-value]
    value: float = arrays["x"].reshape(-1)[-1].item()
    return value


# --- protobuf ---------------------------------------------------------------------------


def is_large(predict_request: bytes) -> bool:
    """Whether one of its tensors asks for much."""
    request = _message_of("tensorflow.serving.PredictRequest", predict_request)
    return request is not None and any(map(asks_for_much, request.inputs.values()))


def _message_of(name: str, data: bytes) -> Any:
    """What protobuf makes of it; None if it refuses."""
    message = message_class(name)()
    try:
        message.ParseFromString(data)
    except DecodeError:
        return None
    return message


def _has_unknown(message: Any) -> bool:
    size = len(message.SerializePartialToString())
    message.DiscardUnknownFields()
    return bool(len(message.SerializePartialToString()) < size)


def check_tensor(data: bytes) -> str:
    """An array, or an error; and what is written of it is read as the same."""
    tensor = _message_of("tensorflow.TensorProto", data)
    if tensor is not None and asks_for_much(tensor):
        return "large"
    try:
        array = decode_tensor(data)
    except InvalidArgument as error:
        return in_short(error)
    _check_round_trip(array)
    return f"{array.dtype} {array.ndim} {array.size > 0}"


def _check_round_trip(array: np.ndarray) -> None:
    kind = data_type_of(array.dtype)
    # Bits that are no value, such as the high ones of four, are not kept: twice is enough.
    for as_content in (False, True):
        written = encode_tensor(array, as_content)
        again = decode_tensor(written)
        require(again.shape == array.shape, f"{again.shape} is not {array.shape}")
        require(data_type_of(again.dtype) is kind, f"{again.dtype} is not {array.dtype}")
        # Without the values: NumPy takes minutes to print them in many dimensions.
        require(encode_tensor(again, as_content) == written, f"{kind} {array.shape} has changed")


def asks_for_much(tensor: Any) -> bool:
    """Whether a TensorProto, however short, stands for an array of many megabytes.

    Missing values are filled in, up to 2 GiB: that is known, and would only take time here.
    """
    sizes = [dim.size for dim in tensor.tensor_shape.dim]
    return bool(math.prod(size for size in sizes if size) > _MOST_ELEMENTS)


def check_predict(data: bytes) -> str:
    """The same requests as protobuf takes, with the same names and versions in them."""
    expected = _message_of("tensorflow.serving.PredictRequest", data)
    first_tensor_data(data)
    try:
        request = decode_predict_request(data)
    except InvalidArgument as error:
        # Of fields that it does not know, protobuf's library for Python lets pass what that for
        # C++ does not: number 0 within a group.
        good = expected is not None and not _has_unknown(expected)
        require(not good, f"refused, which protobuf does not: {error.message}")
        return in_short(error)
    # What protobuf alone refuses are insides of messages that are never used.
    outcome = f"{len(request.input_names)} {request.version is None} {request.has_model_spec}"
    if expected is not None:
        spec = expected.model_spec
        require(request.model_name == spec.name, f"model {request.model_name!r}")
        require(request.signature_name == spec.signature_name, "another signature")
        require(request.output_filter == list(expected.output_filter), "another filter")
        require(set(expected.inputs) <= set(request.input_names), "an input is missing")
    arrays = {}
    for name in request.input_names if expected is not None else ():
        if asks_for_much(expected.inputs[name]):
            continue
        try:
            arrays[name] = request.tensor(name)
        except InvalidArgument as error:
            outcome += in_short(error)
    response = encode_predict_response(list(arrays), list(arrays.values()), "m", 1, "s")
    answer = message_class("tensorflow.serving.PredictResponse").FromString(response)
    require(set(answer.outputs) == set(arrays), "an output is missing")
    return outcome[:120]


# --- files ------------------------------------------------------------------------------

_TEXTS = ["ModelServerConfig", "BatchingParameters", "MonitoringConfig", "SSLConfig"]


def check_config(data: bytes) -> str:
    """A text that is a message, or one error with a line and a column."""
    outcomes = []
    text = data.decode(errors="surrogateescape")
    for name in (*(f"tensorflow.serving.{each}" for each in _TEXTS), "tensorflow.ConfigProto"):
        try:
            message = parse_text(name, text)
        except InvalidArgument as error:
            start = f"Error parsing text-format {name}: "
            require(error.message.startswith(start), error.message)
            place = error.message.removeprefix(start)
            require(re.match(r"\d+:\d+: ", place) is not None, error.message)
            outcomes.append(in_short(InvalidArgument(place)))
            continue
        outcomes.append("read")
        if name.endswith("ModelServerConfig"):
            try:
                config = from_message(message)
                validate(config)
                validate_platforms(config)
            except ServingError as error:
                outcomes.append(in_short(error))
    return " ".join(outcomes)[:200]


class WarmUpBorder:
    """The file that warms a version up: it is played, or the load fails with one error."""

    def __init__(self) -> None:
        self.plan = Plan(seeds.warm_up_files(), (), structure.tf_record)
        self._folder = TemporaryDirectory()
        self._file = Path(self._folder.name, "assets.extra", "tf_serving_warmup_requests")
        self._file.parent.mkdir()
        self._servable = PreparedServable(Everything())
        self._warm_up = WarmUp(1, check_method_names=False, report=lambda report: None)

    def check(self, data: bytes) -> str:
        logs = (
            _message_of("salver.SerializedPredictionLog", log) for log in structure.records(data)
        )
        if any(log is not None and is_large(log.predict_log.request) for log in logs):
            return "large"
        self._file.write_bytes(data)
        try:
            self._warm_up.play(self._servable, ServableId("m", 1), self._folder.name)
        except ServingError as error:
            return in_short(error)
        return f"{data.count(b'serving_default')}"

    def close(self) -> None:
        self._folder.cleanup()


def check_model(data: bytes) -> str:
    """Signatures out of a MetaGraphDef, or a ValueError."""
    try:
        entries = signature_entries(memoryview(data))
        read = [signature_of(entry) for entry in entries.values()]
    except ValueError as error:
        return str(error)[:40]
    inputs = [spec for signature in read for spec in signature.inputs.values()]
    return f"{len(read)} {len(inputs)} {[spec.data_type.value for spec in inputs][:4]}"


def _meta_graphs() -> list[bytes]:
    of_graph = message_class("tensorflow.MetaGraphDef")
    graphs = [of_graph(), of_graph()]
    for graph, method in zip(graphs, ("predict", "classify"), strict=True):
        signature = graph.signature_def["serving_default"]
        signature.method_name = f"tensorflow/serving/{method}"
        for name in ("x", "y"):
            signature.inputs[name].name = f"{name}:0"
            signature.inputs[name].dtype = 1
            signature.inputs[name].tensor_shape.dim.add().size = -1
            signature.outputs[name].tensor_shape.unknown_rank = True
        for number, tensor in enumerate(seeds.TENSORS):
            signature.defaults[f"d{number}"].CopyFrom(
                message_class("tensorflow.TensorProto")(**tensor)
            )
        graph.graph_def.node.add().name = "x"
    return [graph.SerializeToString() for graph in graphs]


# --- the list ---------------------------------------------------------------------------


def borders() -> Iterator[tuple[str, Callable[[], Border]]]:
    """The name of each, and how to make it."""
    json_tokens = [b'"b64"', b'"instances"', b"[", b"]", b"{", b"}", b",", b"\\u", b"\xef\xbb\xbf"]
    bodies = [*seeds.JSON, *seeds.recorded_bodies()]
    number_tokens = [b",", b".", b"e", b"E", b"-", b"+", b"0" * 8, b"9" * 8, b"Inf", b"NaN"]
    config_tokens = [b"{", b"}", b"<", b">", b":", b";", b"[", b"]", b"#", b"\n", b"'", b'"', b"\\",
                     b"\\x", b"\\u1", b"value", b"1e400", b"-", b"0x", b"\0", b"config {",
                     b"model_config_list {", b"[type.googleapis.com/"]  # fmt: skip
    yield "warmup", WarmUpBorder
    plans = [
        ("json", Plan(bodies, json_tokens, structure.json), check_json),
        ("numbers", Plan([b",".join(seeds.NUMBERS), *seeds.NUMBERS], number_tokens, structure.json),
         check_numbers),
        ("tensor", Plan(seeds.tensors(), (), structure.protobuf), check_tensor),
        ("predict", Plan(seeds.predict_requests(), (), structure.protobuf), check_predict),
        ("config", Plan(seeds.CONFIGS, config_tokens, structure.text, 8192), check_config),
        ("model", Plan(_meta_graphs(), (), structure.protobuf), check_model),
    ]  # fmt: skip
    for name, plan, check in plans:
        yield name, lambda plan=plan, check=check: Codec(plan, check)  # type: ignore[misc]
