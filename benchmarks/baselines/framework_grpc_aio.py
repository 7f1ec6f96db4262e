"""The ordinary fast way to serve a model of any framework over gRPC from Python: `grpc.aio`.

Answers `tensorflow.serving.PredictionService.Predict` with Google's protobuf classes, NumPy and
the framework's own call. Small models run in the handler, where they are fastest; `--threads N`
hands them to N threads, which is the better choice for a model that computes for longer.
"""

import argparse
import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from benchmarks.baselines.framework_call import LOADERS, Predict, load
from salver.codecs.messages import message_class

UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
FIELDS = {1: (np.float32, "float_val"), 2: (np.float64, "double_val")}
"""By TensorFlow's numbers of the types."""

PredictRequest = message_class("tensorflow.serving.PredictRequest")
PredictResponse = message_class("tensorflow.serving.PredictResponse")


def array_of(tensor: Any) -> np.ndarray:
    numpy_type, field = FIELDS[tensor.dtype]
    shape = [dimension.size for dimension in tensor.tensor_shape.dim]
    if tensor.tensor_content:
        return np.frombuffer(tensor.tensor_content, numpy_type).reshape(shape).copy()
    return np.array(getattr(tensor, field), numpy_type).reshape(shape)


class Service:
    """One model with one input and one output."""

    def __init__(self, predict: Predict, output_name: str, threads: int) -> None:
        self._predict = predict
        self._output_name = output_name
        self._executor = ThreadPoolExecutor(threads) if threads else None

    async def predict(self, request: Any, context: Any) -> Any:
        if self._executor is None:
            return self._answer(request)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._answer, request)

    def _answer(self, request: Any) -> Any:
        [tensor] = request.inputs.values()
        found = self._predict(array_of(tensor))
        response = PredictResponse()
        output = response.outputs[self._output_name]
        output.dtype = 2 if found.dtype == np.float64 else 1
        for size in found.shape:
            output.tensor_shape.dim.add(size=size)
        getattr(output, FIELDS[output.dtype][1]).extend(found.ravel().tolist())
        return response


async def serve(port: int, service: Service) -> None:
    server = grpc.aio.server(options=UNLIMITED)
    handler = grpc.unary_unary_rpc_method_handler(
        service.predict,
        request_deserializer=PredictRequest.FromString,
        response_serializer=PredictResponse.SerializeToString,
    )
    name = "tensorflow.serving.PredictionService"
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(name, {"Predict": handler}),)
    )
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model_base_path", type=Path, required=True)
    parser.add_argument("--framework", choices=LOADERS, required=True)
    parser.add_argument("--output_name", required=True)
    parser.add_argument("--threads", type=int, default=0)
    options, _ = parser.parse_known_args()
    predict = load(options.framework, options.model_base_path)
    asyncio.run(serve(options.port, Service(predict, options.output_name, options.threads)))


if __name__ == "__main__":
    main()
