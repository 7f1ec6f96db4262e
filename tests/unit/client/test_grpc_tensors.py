import numpy as np
import pytest
from tensorflow_serving.apis import predict_pb2

from salver.client.grpc_tensors import outputs_of, with_inputs
from salver.codecs.predict_codec import decode_predict_request, encode_predict_response
from salver.errors import InternalError, InvalidArgument

ARRAYS: dict[str, np.ndarray] = {
    "x": np.arange(6, dtype=np.int32).reshape(2, 3).T,
    "text": np.array([b"\xff", b""], object),
    "": np.array(1.5),
}


def test_a_request_is_what_the_server_and_tensorflows_own_classes_read() -> None:
    spec = predict_pb2.PredictRequest(output_filter=["y"])
    spec.model_spec.name = "m"
    message = with_inputs(spec.SerializeToString(), ARRAYS)
    read = decode_predict_request(message)
    assert (read.model_name, read.output_filter) == ("m", ["y"])
    for name, array in ARRAYS.items():
        assert read.tensor(name).dtype == array.dtype
        assert read.tensor(name).tolist() == array.tolist()
    assert set(predict_pb2.PredictRequest.FromString(message).inputs) == set(ARRAYS)


def test_a_response_is_read_into_arrays_of_their_own() -> None:
    message = encode_predict_response(list(ARRAYS), list(ARRAYS.values()), "m", 7, "s")
    outputs, spec = outputs_of(message)
    assert (spec.name, spec.version.value, spec.signature_name) == ("m", 7, "s")
    for name, array in ARRAYS.items():
        assert outputs[name].dtype == array.dtype
        assert outputs[name].tolist() == array.tolist()
        assert outputs[name].flags.writeable
        assert outputs[name].flags.aligned


@pytest.mark.parametrize(
    "body", [b"\xff", b"\x0a\x05\x0a\x01x", b"\x0a\x03\x0a\x01\xff", b"\x12\x01\x0a"]
)
def test_what_is_no_response_is_the_servers_fault(body: bytes) -> None:
    with pytest.raises(InternalError, match="is no PredictResponse"):
        outputs_of(body)


def test_an_element_that_no_tensor_has_is_named() -> None:
    with pytest.raises(InvalidArgument, match="input 'x'"):
        with_inputs(b"", {"x": np.array([1], object)})
