"""MLServer with one model of scikit-learn or XGBoost, given TensorFlow Serving's flags.

Runs in an environment of its own, which has MLServer and nothing of Salver. Writes the settings
that its guide shows, with logging of requests off, and becomes `mlserver start`.
"""

import argparse
import json
import os
import socket
import sys
import tempfile
from pathlib import Path

RUNTIMES = {
    "sklearn": ("mlserver_sklearn.SKLearnModel", "model.joblib"),
    "xgboost": ("mlserver_xgboost.XGBoostModel", "1/model.ubj"),
}
"""The runtime, and the file under the base path that it loads."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rest_api_port", type=int, required=True)
    parser.add_argument("--model_name", required=True)
    parser.add_argument("--model_base_path", type=Path, required=True)
    parser.add_argument("--framework", choices=RUNTIMES, required=True)
    parser.add_argument("--workers", type=int, default=1)
    options, _ = parser.parse_known_args()
    runtime, file = RUNTIMES[options.framework]
    folder = Path(tempfile.mkdtemp(prefix="mlserver-"))
    server = {
        "host": "127.0.0.1",
        "http_port": options.rest_api_port,
        "grpc_port": options.port,
        "metrics_port": free_port(),
        "debug": False,
        "parallel_workers": options.workers,
        "load_models_at_startup": True,
        "environments_dir": str(folder / "environments"),
    }
    model = {
        "name": options.model_name,
        "implementation": runtime,
        "parameters": {"uri": str(options.model_base_path / file)},
    }
    (folder / "settings.json").write_text(json.dumps(server))
    (folder / "model-settings.json").write_text(json.dumps(model))
    # One thread for each call, as everybody here has; on a busy machine it is much faster, too.
    os.environ["OMP_NUM_THREADS"] = "1"
    # Its Prometheus files lie in the working directory.
    os.chdir(folder)
    start = "from mlserver.cli import main; main()"
    os.execv(sys.executable, [sys.executable, "-c", start, "start", str(folder)])


if __name__ == "__main__":
    main()
