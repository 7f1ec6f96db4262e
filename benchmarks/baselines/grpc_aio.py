"""The ordinary fast way to serve a model over gRPC from Python: `grpc.aio` and TensorFlow.

Answers `tensorflow.serving.PredictionService.Predict` with the public message classes,
`tf.make_ndarray`, the model and `tf.make_tensor_proto`. The model is called in one of two
ways: as TensorFlow's guides do it, the concrete function of the loaded signature; or, with
`--session`, as fast as TensorFlow's Python lets anyone, a prepared callable of a graph
session that computes in the calling thread (a private function; few know of it).

Small models run in the handler, where they are fastest; `--threads N` hands them to N
threads instead, which is the better choice for a model that computes for milliseconds.
"""

import argparse
import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2
from tensorflow_serving.apis import (
    predict_pb2,
    prediction_service_pb2_grpc,
)

UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


Arrays = dict[str, np.ndarray]
Predict = Callable[[Arrays], Arrays]


def concrete_function(path: str) -> Predict:
    """The signature as `tf.saved_model.load` gives it."""
    loaded = tf.saved_model.load(path)
    signature = loaded.signatures["serving_default"]

    def predict(inputs: Arrays) -> Arrays:
        assert loaded is not None  # it owns the variables, so the closure keeps it
        outputs = signature(**{name: tf.constant(value) for name, value in inputs.items()})
        return {name: value.numpy() for name, value in outputs.items()}

    return predict


def session_callable(path: str) -> Predict:
    """The same through a graph session, resolved once, run in the caller's thread."""
    session = tf.compat.v1.Session(graph=tf.Graph())
    with session.graph.as_default():
        meta_graph = tf.compat.v1.saved_model.load(session, ["serve"], path)
    signature = meta_graph.signature_def["serving_default"]
    feeds = {name: info.name for name, info in signature.inputs.items()}
    fetches = {name: info.name for name, info in signature.outputs.items()}
    options = config_pb2.CallableOptions(
        feed=feeds.values(),
        fetch=fetches.values(),
        run_options=config_pb2.RunOptions(inter_op_thread_pool=-1),
    )
    run = session._make_callable_from_options(options)

    def predict(inputs: Arrays) -> Arrays:
        return dict(zip(fetches, run(*[inputs[name] for name in feeds]), strict=True))

    return predict


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):  # type: ignore[misc]
    """One model; the rest of the service stays unimplemented."""

    def __init__(self, predict: Predict, threads: int) -> None:
        self._predict = predict
        self._executor = ThreadPoolExecutor(threads) if threads else None

    async def Predict(self, request: Any, context: Any) -> Any:  # noqa: N802
        if self._executor is None:
            return self._answer(request)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._answer, request)

    def _answer(self, request: Any) -> Any:
        inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        response = predict_pb2.PredictResponse()
        for name, value in self._predict(inputs).items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return response


async def serve(port: int, service: PredictionService) -> None:
    server = grpc.aio.server(options=UNLIMITED)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model_base_path", required=True)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--session", action="store_true")
    options, _ = parser.parse_known_args()
    load = session_callable if options.session else concrete_function
    predict = load(f"{options.model_base_path}/1")
    asyncio.run(serve(options.port, PredictionService(predict, options.threads)))


if __name__ == "__main__":
    main()
