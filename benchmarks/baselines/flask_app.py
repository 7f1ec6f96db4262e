"""The ordinary way to serve a model over JSON from Python: Flask and TensorFlow.

Flask's own server, one thread per connection, connections kept alive (HTTP/1.1).
"""

import argparse
import logging
from typing import Any

import flask
import numpy as np
import tensorflow as tf
from werkzeug.serving import WSGIRequestHandler


def create_app(path: str) -> flask.Flask:
    """The app for one SavedModel with one input and one output."""
    app = flask.Flask(__name__)
    loaded = tf.saved_model.load(path)
    predict = loaded.signatures["serving_default"]
    [(input_name, specification)] = predict.structured_input_signature[1].items()
    [output_name] = predict.structured_outputs

    @app.post("/v1/models/<name>:predict")
    def answer(name: str) -> dict[str, Any]:
        # `loaded` owns the variables of the signature; the closure keeps it alive.
        assert loaded is not None
        instances = flask.request.get_json()["instances"]
        inputs = np.asarray(instances, specification.dtype.as_numpy_dtype)
        outputs = predict(**{input_name: tf.constant(inputs)})
        return {"predictions": outputs[output_name].numpy().tolist()}

    return app


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rest_api_port", type=int, required=True)
    parser.add_argument("--model_base_path", required=True)
    options, _ = parser.parse_known_args()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    WSGIRequestHandler.protocol_version = "HTTP/1.1"
    app = create_app(f"{options.model_base_path}/1")
    app.run(host="127.0.0.1", port=options.rest_api_port, threaded=True)


if __name__ == "__main__":
    main()
