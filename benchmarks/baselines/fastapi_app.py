"""The ordinary way to serve a model over JSON today: FastAPI on uvicorn. Rows in, rows out.

Runs in an environment of its own, which has FastAPI and the frameworks, and nothing of Salver.
The model is called in the handler, which for small models is quicker than FastAPI's threads.
With several workers each is a process with the model.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from benchmarks.baselines.framework_call import LOADERS, load

FRAMEWORK, BASE_PATH, DATA_TYPE = "BENCH_FRAMEWORK", "BENCH_BASE_PATH", "BENCH_DATA_TYPE"
"""How the workers learn what to serve."""


class Instances(BaseModel):
    """The request of TensorFlow Serving's REST, as far as rows of numbers go."""

    instances: list[list[float]]


def create_app() -> FastAPI:
    """The app of one process."""
    predict = load(os.environ[FRAMEWORK], Path(os.environ[BASE_PATH]))
    data_type = os.environ[DATA_TYPE]
    app = FastAPI()

    @app.post("/v1/models/{name}:predict")
    async def answer(name: str, request: Instances) -> dict[str, list[object]]:
        return {"predictions": predict(np.array(request.instances, data_type)).tolist()}

    return app


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rest_api_port", type=int, required=True)
    parser.add_argument("--model_base_path", required=True)
    parser.add_argument("--framework", choices=LOADERS, required=True)
    parser.add_argument("--data_type", required=True)
    parser.add_argument("--workers", type=int, default=1)
    options, _ = parser.parse_known_args()
    os.environ[FRAMEWORK] = options.framework
    os.environ[BASE_PATH] = options.model_base_path
    os.environ[DATA_TYPE] = options.data_type
    uvicorn.run(
        "benchmarks.baselines.fastapi_app:create_app",
        factory=True,
        host="127.0.0.1",
        port=options.rest_api_port,
        workers=options.workers,
        log_level="warning",
        access_log=False,
    )


if __name__ == "__main__":
    main()
