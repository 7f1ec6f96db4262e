import logging

import numpy as np
import pytest

from salver.backends.protobuf_wire import Message, encoded_content
from salver.backends.signature_def import signature_def_map, signature_entries, signature_of
from salver.codecs.messages import WireMessage, message_class
from salver.core.data_type import DataType
from salver.core.signature import TensorSpec


def map_of_signatures() -> WireMessage:
    proto = message_class("tensorflow.serving.SignatureDefMap")()
    definition = proto.signature_def["serving_default"]
    definition.method_name = "tensorflow/serving/predict"
    definition.inputs["x"].name = "x:0"
    definition.inputs["x"].dtype = DataType.FLOAT
    definition.inputs["x"].tensor_shape.dim.add(size=-1)
    definition.inputs["x"].tensor_shape.dim.add(size=3)
    definition.outputs["y"].name = "y:0"
    definition.outputs["y"].dtype = 100 + DataType.INT64
    definition.outputs["y"].tensor_shape.unknown_rank = True
    definition.defaults["x"].dtype = DataType.FLOAT
    definition.defaults["x"].float_val.append(2.5)
    proto.signature_def["ä"].method_name = "other"
    return proto


def meta_graph_of(proto: WireMessage) -> memoryview:
    """A MetaGraphDef with these signatures and things of no interest around them."""
    entries = Message(memoryview(proto.SerializeToString())).contents(1)
    data = b"".join(encoded_content(5, entry) for entry in entries)
    return memoryview(encoded_content(2, bytes(10_000)) + data + encoded_content(99, b"new"))


def test_a_signature_is_read_with_all_it_says() -> None:
    entries = signature_entries(meta_graph_of(map_of_signatures()))

    signature = signature_of(entries["serving_default"])

    assert signature.name == "serving_default"
    assert signature.method_name == "tensorflow/serving/predict"
    assert signature.inputs == {"x": TensorSpec("x:0", DataType.FLOAT, (-1, 3))}
    assert signature.outputs == {"y": TensorSpec("y:0", DataType.INT64, None)}
    assert signature.defaults == {"x": np.array(2.5, np.float32)}
    assert signature_of(entries["ä"]).name == "ä"


def test_the_map_of_all_signatures_is_as_the_model_has_it() -> None:
    proto = map_of_signatures()

    encoded = signature_def_map(signature_entries(meta_graph_of(proto)))

    assert message_class("tensorflow.serving.SignatureDefMap").FromString(encoded) == proto


def test_fields_we_do_not_know_are_kept() -> None:
    unknown = encoded_content(1, b"name") + encoded_content(2, encoded_content(77, b"news"))
    meta_graph = memoryview(encoded_content(5, unknown))

    assert signature_def_map(signature_entries(meta_graph)) == encoded_content(1, unknown)


def test_signatures_come_in_order_of_name() -> None:
    entries = [encoded_content(5, encoded_content(1, name)) for name in (b"b", b"c", b"a")]

    assert list(signature_entries(memoryview(b"".join(entries)))) == ["a", "b", "c"]


def test_a_default_that_cannot_be_read_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    proto = map_of_signatures()
    proto.signature_def["serving_default"].defaults["x"].tensor_content = b"odd"
    entries = signature_entries(meta_graph_of(proto))

    with caplog.at_level(logging.WARNING):
        signature = signature_of(entries["serving_default"])

    assert signature.defaults == {}
    assert "input x in signature serving_default" in caplog.text


def test_what_is_no_meta_graph_is_refused() -> None:
    with pytest.raises(ValueError, match="longer than its message"):
        signature_entries(memoryview(b"\x2a\x7f"))
