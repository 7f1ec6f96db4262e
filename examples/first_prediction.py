"""Ask a running server for the rent of three flats, over gRPC and over REST.

    python examples/first_prediction.py --port 8500 --rest_api_port 8501 --model_name rent

The model is that of `export_sample_model.py`. Waits until the server answers. The gRPC
call needs no generated stubs: `salver.codecs.messages` has the messages of TensorFlow
Serving, and any client of TensorFlow Serving works the same way.
"""

import argparse
import json
import urllib.request

import grpc

from salver.codecs.messages import message_class

FLATS = ((70, 3, 2), (70, 3, 15), (24, 1, 1))
DT_FLOAT = 1
Flats = tuple[tuple[float, ...], ...]


def predict_over_grpc(address: str, model_name: str, flats: Flats, timeout_s: float) -> list[float]:
    """One `PredictionService.Predict` call; waits for the server to come up.

    Raises:
        grpc.RpcError: the server answered with an error, or not within `timeout_s`.
    """
    request = message_class("tensorflow.serving.PredictRequest")()
    request.model_spec.name = model_name
    tensor = request.inputs["flat"]
    tensor.dtype = DT_FLOAT
    for size in (len(flats), len(flats[0])):
        tensor.tensor_shape.dim.add(size=size)
    for flat in flats:
        tensor.float_val.extend(flat)
    with grpc.insecure_channel(address) as channel:
        predict = channel.unary_unary(
            "/tensorflow.serving.PredictionService/Predict",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=message_class("tensorflow.serving.PredictResponse").FromString,
        )
        response = predict(request, timeout=timeout_s, wait_for_ready=True)
    return [float(value) for value in response.outputs["rent"].float_val]


def predict_over_rest(url: str, body: bytes, timeout_s: float) -> list[float]:
    """One POST of a JSON body.

    Raises:
        urllib.error.HTTPError: the server answered with an error.
    """
    with urllib.request.urlopen(url, data=body, timeout=timeout_s) as response:
        predictions = json.load(response)["predictions"]
    return [float(row[0]) for row in predictions]


def describe(rents: list[float]) -> str:
    """One line per flat."""
    lines = (
        f"    {area:3.0f} m2, rooms: {rooms:.0f}, {distance:2.0f} km to the centre: "
        f"{rent:5.0f} euros a month"
        for (area, rooms, distance), rent in zip(FLATS, rents, strict=True)
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Make one prediction over gRPC, one over REST.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8500, help="port of gRPC")
    parser.add_argument("--rest_api_port", type=int, default=8501)
    parser.add_argument("--model_name", default="rent")
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds to wait for an answer")
    options = parser.parse_args()

    address = f"{options.host}:{options.port}"
    print(f"gRPC, {address}:")
    print(describe(predict_over_grpc(address, options.model_name, FLATS, options.timeout)))

    url = f"http://{options.host}:{options.rest_api_port}/v1/models/{options.model_name}:predict"
    body = json.dumps({"instances": FLATS})
    print(f"REST, {url}:")
    print(describe(predict_over_rest(url, body.encode(), options.timeout)))
    print(f"Try it:\n    curl -d '{body}' {url}")


if __name__ == "__main__":
    main()
