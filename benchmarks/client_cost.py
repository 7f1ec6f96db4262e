"""What a tiny predict costs through `salver.client`, beside clients written by hand.

    python -m benchmarks.client_cost [--seconds 2]

One server, one caller, one connection each; the clients take turns, several rounds, and the best
round of each counts. The ratio to the client written by hand is the figure to keep.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc
import httpx
import numpy as np
import requests

from salver.client import AsyncClient, Client
from salver.codecs.messages import message_class
from tests.running import RunningServer
from tests.served_models import export

ROUNDS = 5
X = np.array([1.0, 2.0, 5.0], np.float32)
Calls = Callable[[float], float]
"""Makes calls for so many seconds; how many a second they were."""


def rate_of(call: Callable[[], object]) -> Calls:
    def calls(seconds: float) -> float:
        done, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            for _ in range(20):
                call()
            done += 20
        return done / (time.perf_counter() - start)

    return calls


def by_hand_over_grpc(address: str) -> Calls:
    """Messages of protobuf, as the tutorials have it."""
    request_class = message_class("tensorflow.serving.PredictRequest")
    response_class = message_class("tensorflow.serving.PredictResponse")
    channel = grpc.insecure_channel(address)
    method = channel.unary_unary(
        "/tensorflow.serving.PredictionService/Predict",
        request_serializer=request_class.SerializeToString,
        response_deserializer=response_class.FromString,
    )

    def call() -> np.ndarray:
        request = request_class()
        request.model_spec.name = "constant"
        tensor = request.inputs["x"]
        tensor.dtype = 1
        tensor.tensor_shape.dim.add(size=X.size)
        tensor.tensor_content = X.tobytes()
        response = method(request, timeout=60.0)
        answer = response.outputs["y"]
        shape = [dim.size for dim in answer.tensor_shape.dim]
        return np.array(answer.float_val, np.float32).reshape(shape)

    return rate_of(call)


def by_hand_over_rest(url: str) -> Calls:
    session = requests.Session()

    def call() -> np.ndarray:
        body = json.dumps({"inputs": {"x": X.tolist()}})
        answer = session.post(f"{url}/v1/models/constant:predict", body, timeout=60.0)
        answer.raise_for_status()
        return np.array(answer.json()["outputs"], np.float32)

    return rate_of(call)


def by_hand_with_httpx(url: str) -> Calls:
    client = httpx.Client()

    def call() -> np.ndarray:
        body = json.dumps({"inputs": {"x": X.tolist()}})
        answer = client.post(f"{url}/v1/models/constant:predict", content=body, timeout=60.0)
        answer.raise_for_status()
        return np.array(answer.json()["outputs"], np.float32)

    return rate_of(call)


def through_the_client(address: str) -> Calls:
    client = Client(address)
    return rate_of(lambda: client.predict("constant", {"x": X})["y"])


def awaited(address: str) -> Calls:
    async def run(seconds: float) -> float:
        async with AsyncClient(address) as client:
            await client.predict("constant", {"x": X})
            done, start = 0, time.perf_counter()
            while time.perf_counter() - start < seconds:
                for _ in range(20):
                    await client.predict("constant", {"x": X})
                done += 20
            return done / (time.perf_counter() - start)

    return lambda seconds: asyncio.run(run(seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each client in each round")
    seconds = parser.parse_args().seconds
    with TemporaryDirectory() as folder:
        export("constant", Path(folder) / "constant" / "1")
        flags = ("--model_name=constant", f"--model_base_path={folder}/constant")
        with RunningServer(*flags) as server:
            clients = {
                "gRPC, written by hand with grpcio": by_hand_over_grpc(server.grpc_address),
                "gRPC, salver.client": through_the_client(server.grpc_address),
                "gRPC, salver.client, awaited": awaited(server.grpc_address),
                "REST, written by hand with requests": by_hand_over_rest(server.url),
                "REST, written by hand with httpx": by_hand_with_httpx(server.url),
                "REST, salver.client": through_the_client(server.url),
                "REST, salver.client, awaited": awaited(server.url),
            }
            best = dict.fromkeys(clients, 0.0)
            for _ in range(ROUNDS):
                for name, calls in clients.items():
                    best[name] = max(best[name], calls(seconds))
    by_hand = {
        "gRPC": best["gRPC, written by hand with grpcio"],
        "REST": best["REST, written by hand with requests"],
    }
    print(f"{'client':40} {'us a call':>10} {'cost, by hand = 1':>18}")
    for name, rate in best.items():
        print(f"{name:40} {1e6 / rate:10.0f} {by_hand[name[:4]] / rate:18.2f}")


if __name__ == "__main__":
    main()
