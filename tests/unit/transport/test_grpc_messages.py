"""Tensors of a request, as the model that they are for takes them."""

from collections.abc import Sequence

import numpy as np
import pytest
from tensorflow_serving.apis import predict_pb2

from salver.codecs.predict_codec import decode_predict_request
from salver.core.data_type import DataType
from salver.core.deep_array import DeepArray
from salver.core.signature import Signature, TensorSpec
from salver.errors import InvalidArgument
from salver.execution.immediate import ImmediateRunner
from salver.execution.prepared import PreparedServable
from salver.service.predict import Predict
from salver.telemetry.load_metrics import RunList
from salver.transport.grpc_messages import tensors_of

X = TensorSpec("x:0", DataType.FLOAT, None)


class Flat:
    """A model that says nothing about so many dimensions."""

    signature_def_map = b""
    signatures = {"s": Signature("s", {"x": X}, {"y": X})}  # noqa: RUF012

    def program(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> "Flat":
        return self

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        raise NotImplementedError


class Deep(Flat):
    takes_deep_arrays = True


def test_only_who_says_so_gets_more_dimensions_than_numpy_has() -> None:
    message = predict_pb2.PredictRequest()
    message.inputs["x"].dtype = DataType.FLOAT
    message.inputs["x"].float_val[:] = [1.0]
    for _ in range(70):
        message.inputs["x"].tensor_shape.dim.add().size = 1
    request = decode_predict_request(message.SerializeToString())
    predict = Predict(ImmediateRunner(), RunList())
    (array,) = tensors_of(request, PreparedServable(Deep()).signatures["s"], predict)
    assert isinstance(array, DeepArray)
    with pytest.raises(InvalidArgument, match="Input x has 70 dimensions: the model takes 64"):
        tensors_of(request, PreparedServable(Flat()).signatures["s"], predict)
