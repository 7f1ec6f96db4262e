"""What is asked of the servers: a model, the form of the request, and how many at once."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.client import (
    PREDICT,
    floats_of_response,
    grpc_body,
    predict_request,
    rest_body,
)
from benchmarks.models import LARGE, MOBILENET, TINY, Model


@dataclass(frozen=True, slots=True)
class Form:
    """How the tensor travels."""

    name: str
    protocol: str
    packed_values: bool = False
    """In gRPC, whether floats go into `float_val` rather than `tensor_content`."""


REST = Form("REST", "rest")
GRPC = Form("gRPC", "grpc", packed_values=True)
GRPC_CONTENT = Form("gRPC, tensor_content", "grpc")
GRPC_VALUES = Form("gRPC, float_val", "grpc", packed_values=True)


@dataclass(frozen=True, slots=True)
class Workload:
    """One model under some loads; all servers of a workload run at the same time."""

    model: Model
    forms: tuple[Form, ...]
    concurrencies: tuple[int, ...]
    computes_long: bool
    seconds: float
    """How long one measurement shall take."""
    rounds: int
    quick_concurrency: int
    """The one load of a quick run."""
    is_looped: bool = True
    """Whether the bare model is measured as well."""


WORKLOADS = {
    "tiny": Workload(TINY, (GRPC, REST), (1, 8, 64), False, 1.0, 5, 64),
    "large": Workload(
        LARGE, (GRPC_CONTENT, GRPC_VALUES, REST), (1, 4), True, 2.0, 3, 1, is_looped=False
    ),
    "mobilenet": Workload(MOBILENET, (GRPC_CONTENT, REST), (1, 8, 64), True, 2.5, 3, 8),
}


class Question:
    """A ready request for a model in a form, and the check of an answer."""

    def __init__(self, model: Model, form: Form, folder: Path) -> None:
        with np.load(folder / f"{model.name}.npz") as arrays:
            inputs, self._expected = arrays["input"], arrays["expected"]
        self.model = model
        self.form = form
        self.name = f"{model.name} over {form.name}"
        self.protocol = form.protocol
        self.path = PREDICT if form.protocol == "grpc" else f"/v1/models/{model.name}:predict"
        self.body_path = folder / f"{model.name}-{form.name.replace(', ', '-')}.body"
        if form.protocol == "grpc":
            self.message = predict_request(
                model.name, model.input_name, inputs, packed_values=form.packed_values
            )
            body = grpc_body(self.message)
        else:
            self.message = body = rest_body(inputs)
        self.body_path.write_bytes(body)
        self.tensor_bytes = inputs.nbytes + self._expected.nbytes

    def is_right(self, values: np.ndarray) -> bool:
        """Whether these are the outputs that TensorFlow itself computed."""
        expected = self._expected
        return values.shape == expected.shape and bool(
            np.allclose(values, expected, rtol=self.model.tolerance, atol=self.model.tolerance)
        )

    def is_right_message(self, response: bytes) -> bool:
        """Whether a message, or a body of REST, has them."""
        if self.protocol == "grpc":
            return self.is_right(floats_of_response(response, self.model.output_name))
        return self.is_right(np.array(json.loads(response)["predictions"], np.float32))
