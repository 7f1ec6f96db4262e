"""The same row in the forms of three protocols: Salver's and FastAPI's, and MLServer's own."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from benchmarks.client import (
    PREDICT,
    floats_of_response,
    grpc_body,
    predict_request,
    rest_body,
)
from benchmarks.frameworks.models import FrameworkModel

TOLERANCE = 1e-4
"""REST carries few decimals, and runtimes add up in other orders."""
INFER = "/inference.GRPCInferenceService/ModelInfer"
V2_TYPES = {"float32": ("FP32", "fp32_contents"), "float64": ("FP64", "fp64_contents")}
_MESSAGES = (
    "import sys; from mlserver.grpc import dataplane_pb2; "
    "sys.stdout.buffer.write(dataplane_pb2.DESCRIPTOR.serialized_pb)"
)


class Row:
    """A model's row and the right answer, which the forms have in common."""

    def __init__(self, model: FrameworkModel, folder: Path) -> None:
        with np.load(folder / f"{model.name}.npz") as arrays:
            self.values, self.expected = arrays["input"], arrays["expected"]
        self.model = model
        self.folder = folder

    def is_right(self, values: np.ndarray) -> bool:
        """Whether these are what the framework itself computed."""
        same_size = values.size == self.expected.size
        expected = self.expected.ravel()
        return same_size and bool(np.allclose(values.ravel(), expected, TOLERANCE, 1e-5))

    def write(self, protocol: str, kind: str, body: bytes) -> Path:
        """Keep a body for the load generator."""
        path = self.folder / f"{self.model.name}-{kind}-{protocol}.body"
        path.write_bytes(body)
        return path


class Question:
    """As TensorFlow Serving takes it."""

    def __init__(self, row: Row, protocol: str) -> None:
        model = row.model
        self._row = row
        self.protocol = protocol
        self.name = f"{model.name} over {protocol}"
        self.path = PREDICT if protocol == "grpc" else f"/v1/models/{model.name}:predict"
        if protocol == "grpc":
            self.message = predict_request(
                *(model.name, model.input_name, row.values),
                packed_values=not model.is_image,
                signature_name=model.signature_name,
            )
            body = grpc_body(self.message)
        else:
            self.message = body = rest_body(row.values, model.signature_name)
        self.body_path = row.write(protocol, "predict", body)

    def is_right_message(self, response: bytes) -> bool:
        """See `benchmarks.measure.Asked`."""
        if self.protocol == "grpc":
            return self._row.is_right(floats_of_response(response, self._row.model.output_name))
        return self._row.is_right(np.array(json.loads(response)["predictions"], np.float64))


class InferQuestion:
    """As MLServer takes it: version 2 of the open inference protocol."""

    def __init__(self, row: Row, protocol: str, mlserver: Path) -> None:
        """Take MLServer's own messages, of the environment with this interpreter."""
        model = row.model
        data_type, field = V2_TYPES[model.data_type]
        self._row = row
        self.protocol = protocol
        self.name = f"{model.name} over {protocol}"
        self.path = INFER if protocol == "grpc" else f"/v2/models/{model.name}/infer"
        values = row.values.ravel().tolist()
        tensor = {"name": model.input_name, "shape": row.values.shape, "datatype": data_type}
        output = "predict_proba" if model.framework == "sklearn" else "predict"
        if protocol == "grpc":
            request_class, self._response_class = messages(mlserver)
            request = request_class(model_name=model.name)
            added = request.inputs.add(**tensor)
            getattr(added.contents, field).extend(values)
            request.outputs.add(name=output)
            self.message = request.SerializeToString()
            body = grpc_body(self.message)
        else:
            asked = {"inputs": [{**tensor, "data": values}], "outputs": [{"name": output}]}
            self.message = body = json.dumps(asked, separators=(",", ":")).encode()
        self.body_path = row.write(protocol, "infer", body)

    def is_right_message(self, response: bytes) -> bool:
        """See `benchmarks.measure.Asked`."""
        if self.protocol != "grpc":
            return self._row.is_right(np.array(json.loads(response)["outputs"][0]["data"]))
        [output] = self._response_class.FromString(response).outputs
        field = dict(V2_TYPES.values())[output.datatype]
        return self._row.is_right(np.array(getattr(output.contents, field)))


def messages(mlserver: Path) -> tuple[Any, Any]:
    """The request and the response of ModelInfer, as the installed MLServer describes them."""
    described = subprocess.run([str(mlserver), "-c", _MESSAGES], check=True, capture_output=True)
    file = descriptor_pb2.FileDescriptorProto.FromString(described.stdout)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    names = [f"{file.package}.ModelInfer{part}" for part in ("Request", "Response")]
    request, response = map(pool.FindMessageTypeByName, names)
    return message_factory.GetMessageClass(request), message_factory.GetMessageClass(response)
