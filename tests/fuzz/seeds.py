"""Valid inputs to begin with: written here, and, where they are there, recorded ones."""

import base64
import gzip
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from salver.codecs.messages import message_class
from tests.fuzz.structure import record

_RECORDED = Path(__file__).resolve().parents[3] / "shared" / "golden" / "open"

JSON = [
    b'{"instances": [1.0, 2.0, 5.0]}',
    b'{"instances":[[0.944904,0.123457],[0.5,-0.25]],"signature_name":"serving_default"}',
    b'{"inputs": {"x": [1, 2, 3]}}',
    b'{"inputs": 7.25}',
    b'{"signature_name": "string", "instances": [{"b64": "AAECAw=="}, "text", "\\u00e4\\n"]}',
    b'{"signature_name":"many","instances":[{"a":[1.5,2],"b":"x","c":1},{"a":[3,4],"b":"y","c":2}]}',
    b'{"signature_name":"many","inputs":{"a":[[1,2]],"b":[{"b64":"AA=="}],"c":[-9223372036854775808]}}',
    b'{"signature_name":"bool","instances":[true,false]}',
    b'{"signature_name":"double","instances":[1e308,-1.5E-7,NaN,Infinity,-Infinity,0.1]}',
    b'{"signature_name":"uint64","inputs":[18446744073709551615,0]}',
    b'{"signature_name":"int8","inputs":[[[-128],[127]],[[0],[1]]]}',
    b'{"signature_name":"classify","examples":[{"x":2.0},{"x":[1,2],"name":"a"}],"context":{"y":1}}',
    b'{"signature_name":"regress","examples":[{"x":2.0,"id":7,"raw":{"b64":"AAEC"}}]}',
    b'\xef\xbb\xbf {"instances": [] , "ignored": {"deep": [[[[[[1]]]]]], "more": null}} rest',
    b'{"instances":[' + b"0.944904," * 300 + b"1]}",
    b'{"instances":[' + b"[123456789," * 20 + b"1" + b"]" * 20 + b"]}",
]

NUMBERS = [
    b"0", b"-0", b"1", b"-1.5", b"0.944904", b"0.1234567", b"0.12345678", b"12345678.12345678",
    b"1e5", b"1E-5", b"-1.25e+30", b"9223372036854775807", b"-9223372036854775808",
    b"18446744073709551615", b"123456789012345678901234567890", b"0.000000000000000000001",
    b"1.7976931348623157e308", b"2.2250738585072014e-308", b"4.9e-324", b"1e-400", b"NaN",
    b"-Infinity", b"0.30000000000000004", b"9007199254740993", b"1.00000000000000011102230246",
]  # fmt: skip

CONFIGS = [
    b'model_config_list { config { name: "m" base_path: "/m" model_platform: "tensorflow" } }',
    b"""model_config_list: { config: { name: "a", base_path: "/a", model_platform: "tensorflow",
        model_version_policy { specific { versions: 1 versions: 2 } }
        version_labels { key: "stable" value: 1 } }, }  # a comment
    """,
    b'model_config_list { config { name: "m" base_path: "/m" model_type: TENSORFLOW '
    b"model_version_policy: { latest { num_versions: 2 } } logging_config { sampling_config "
    b"{ sampling_rate: 0.5 } } } config < name: 'b' base_path: \"gs://b/c\" > }",
    b'custom_model_config { type_url: "type.googleapis.com/x" value: "\\001\\xff" }',
    b"custom_model_config { [type.googleapis.com/tensorflow.serving.ModelConfig] { name: 'x' } }",
    b"custom_model_config { [type.googleapis.com/google.protobuf.Any] { "
    b"[type.googleapis.com/google.protobuf.Any] { type_url: 'a' } } }",
    b"max_batch_size { value: 128 } batch_timeout_micros { value: 0 } allowed_batch_sizes: [1, 2]",
    b"num_batch_threads { value: 4 } pad_variable_length_inputs: true thread_pool_name { }",
    b'prometheus_config { enable: true path: "/metrics" }',
    b"intra_op_parallelism_threads: 2 gpu_options { allow_growth: true } graph_options {}",
    b'ssl_cert: "a" ssl_key: "b" client_verify: false',
]

_PACKED = gzip.compress(b'{"instances": [1.0, 2.0]}', mtime=0)

HTTP1 = [
    b"GET /v1/models/m HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /v1/models/m/versions/1/metadata HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n",
    b"GET /monitoring/prometheus/metrics HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"POST /v1/models/m:predict HTTP/1.1\r\nHost: a\r\nContent-Length: 18\r\n\r\n"
    b'{"instances": [1]}',
    b"POST /v1/models/m/labels/stable:predict HTTP/1.1\r\nHost: a\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
    b'12\r\n{"instances": [1]}\r\n0\r\nTrailer: x\r\n\r\n',
    b"POST /v1/models/m:classify HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
    b"Content-Length: 54\r\n\r\n"
    b'{"signature_name":"classify","examples":[{"x":[2.5]}]}',
    b"OPTIONS /v1/models/m:predict HTTP/1.1\r\nHost: a\r\nOrigin: http://b\r\n\r\n"
    b"HEAD /v1/models/m HTTP/1.1\r\nHost: a\r\n\r\n"
    b"DELETE * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"GET /v1/models/m HTTP/1.1\nHost: a\nUpgrade: websocket\nConnection: Upgrade\n\n",
    b"POST /v1/models/m:predict HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
    % (len(_PACKED), _PACKED),
]

HTTP1_TOKENS = [
    b"\r\n", b"\n", b"\r\n\r\n", b"\n\n", b"\r", b"\0", b" ", b"\t", b":", b"0\r\n\r\n",
    b"1\r\na\r\n", b"ffffffffffffffff\r\n", b"-1\r\n", b"Content-Length: 5\r\n",
    b"Content-Length: -1\r\n",
    b"Content-Length: 99999999999999999999\r\n", b"Content-Length: 200000\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n",
    b"Connection: close\r\n", b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n",
    b"Expect: 100-continue\r\n", b"Content-Encoding: gzip\r\n", b"HTTP/1.1", b"HTTP/1.0",
    b"HTTP/2.0", b"HTTP/0.9", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"CONNECT a:1 HTTP/1.1\r\n",
    b"TRACE / HTTP/1.1", b"%00", b"%2f", b"%", b"?", b"#", b"http://a/v1/models/m", b"/v1/models/",
    b":predict", b":PREDICT", b"/versions/", b"/labels/", b"/metadata", b"99999999999999999999",
    b"X: " + b"y" * 5000 + b"\r\n", b"GET /v1/models/m HTTP/1.1\r\n\r\n",
]  # fmt: skip


@cache
def recorded(kind: str) -> list[dict[str, Any]]:
    """The requests of the recorded exchanges of a kind, `rest` or `grpc`; [] without them."""
    lines = (
        line for path in sorted(_RECORDED.glob("*.jsonl")) for line in path.read_text().splitlines()
    )
    exchanges = (json.loads(line) for line in lines)
    return [each["request"] for each in exchanges if each.get("kind") == kind]


def recorded_bodies() -> Iterator[bytes]:
    """Bodies of recorded REST requests."""
    for request in recorded("rest"):
        body = request.get("body")
        if isinstance(body, str) and body:
            yield body.encode("utf-8", "surrogatepass")[:4096]
        elif request.get("body_b64"):
            yield base64.b64decode(request["body_b64"])[:4096]


def recorded_messages(method: str = "") -> Iterator[tuple[bytes, bytes]]:
    """Path and message of recorded gRPC requests to a method, or to all."""
    for request in recorded("grpc"):
        if request["method"].endswith(method):
            yield request["method"].encode(), base64.b64decode(request.get("message_b64") or "")


def _message(name: str, **fields: Any) -> bytes:
    return message_class(name)(**fields).SerializeToString()


def _tensor(data_type: int, sizes: list[int], **values: Any) -> dict[str, Any]:
    return {"dtype": data_type, "tensor_shape": {"dim": [{"size": s} for s in sizes]}, **values}


TENSORS = [
    _tensor(1, [3], float_val=[1, 2, 5]),
    _tensor(1, [2, 2], tensor_content=bytes(16)),
    _tensor(2, [2], double_val=[1.5]),
    _tensor(3, [2, 2], int_val=[-1, 2, 3, 300]),
    _tensor(6, [1], int_val=[-5]),
    _tensor(7, [2], string_val=[b"a", b"\xff" * 20]),
    _tensor(7, [2], tensor_content=b"\1\2abb"),
    _tensor(8, [1], scomplex_val=[1, 2]),
    _tensor(9, [0], int64_val=[1 << 60]),
    _tensor(10, [3], bool_val=[True, False, True]),
    _tensor(14, [2], half_val=[16256, 0]),
    _tensor(17, [1], int_val=[65535]),
    _tensor(18, [1], dcomplex_val=[1, 2]),
    _tensor(19, [2], half_val=[15360]),
    _tensor(23, [], uint64_val=[2**64 - 1]),
    _tensor(24, [2], float8_val=b"\x38\x40"),
    _tensor(29, [3], int_val=[7, -8, 1]),
    _tensor(1, [1] * 12, float_val=[1]),
]


def tensors() -> list[bytes]:
    """TensorProtos of every kind of field."""
    return [_message("tensorflow.TensorProto", **tensor) for tensor in TENSORS]


def predict_requests() -> list[bytes]:
    spec = {"name": "m", "signature_name": "serving_default"}
    name = "tensorflow.serving.PredictRequest"
    names = ["float", "double", "int32", "string", "int64", "bool", "uint64"]
    own = [_message(name, model_spec=spec, inputs={"x": tensor}) for tensor in TENSORS]
    own += [
        _message(name, model_spec={"name": "m", "version": {"value": 1}}, inputs={"x": TENSORS[0]}),
        _message(name, model_spec={"name": "m", "version_label": "stable"}, output_filter=["y"]),
        _message(
            name,
            model_spec={"name": "m", "signature_name": "many"},
            inputs={"a": TENSORS[1], "b": TENSORS[5], "c": TENSORS[8]},
        ),
        *(
            _message(
                name,
                model_spec={"name": "m", "signature_name": each},
                inputs={"x": TENSORS[0]},
                output_filter=["y"],
            )
            for each in names
        ),
    ]
    return own + [message for _, message in recorded_messages("/Predict")]


def _example() -> dict[str, Any]:
    features = {
        "x": {"float_list": {"value": [2.0]}},
        "name": {"bytes_list": {"value": [b"a", b"b"]}},
        "id": {"int64_list": {"value": [-1, 7]}},
    }
    return {"features": {"feature": features}}


def _input() -> list[dict[str, Any]]:
    return [
        {"example_list": {"examples": [_example(), {}]}},
        {"example_list_with_context": {"examples": [_example()], "context": _example()}},
    ]


def calls() -> list[tuple[bytes, bytes]]:
    """Path and message of requests to every method."""
    service = b"/tensorflow.serving.PredictionService/"
    status = b"/tensorflow.serving.ModelService/"
    found = [(service + b"Predict", message) for message in predict_requests()[:30]]
    for input_ in _input():
        for method, name in (("Classification", b"Classify"), ("Regression", b"Regress")):
            signature = name.decode().lower()
            spec = {"name": "m", "signature_name": signature}
            message = _message(f"tensorflow.serving.{method}Request", model_spec=spec, input=input_)
            found.append((service + name, message))
        tasks = [
            {
                "model_spec": {"name": "m", "signature_name": name},
                "method_name": f"tensorflow/serving/{name}",
            }
            for name in ("classify", "regress")
        ]
        message = _message("tensorflow.serving.MultiInferenceRequest", tasks=tasks, input=input_)
        found.append((service + b"MultiInference", message))
    metadata = _message(
        "tensorflow.serving.GetModelMetadataRequest",
        model_spec={"name": "m"},
        metadata_field=["signature_def"],
    )
    found.append((service + b"GetModelMetadata", metadata))
    of_model = _message("tensorflow.serving.GetModelStatusRequest", model_spec={"name": "m"})
    found.append((status + b"GetModelStatus", of_model))
    models = [{"name": "m", "base_path": "/m", "model_platform": "tensorflow"}]
    reload_ = _message(
        "tensorflow.serving.ReloadConfigRequest",
        config={"model_config_list": {"config": models}},
        metric_names=[":tensorflow:serving:request_count"],
    )
    found.append((status + b"HandleReloadConfigRequest", reload_))
    return found + list(recorded_messages())[:300]


def warm_up_files() -> list[bytes]:
    """TFRecord files with the logs that warm a model up."""
    kinds = {b"/Predict": "predict_log", b"/Classify": "classify_log", b"/Regress": "regress_log"}
    kinds[b"/MultiInference"] = "multi_inference_log"
    logs = []
    for path, message in calls()[:40]:
        kind = next((kind for ending, kind in kinds.items() if path.endswith(ending)), None)
        if kind is not None:
            log = message_class("salver.SerializedPredictionLog")()
            getattr(log, kind).request = message
            logs.append(record(log.SerializeToString()))
    return [b"", b"".join(logs[:3]), *logs, record(b"")]
