"""MOJO files, trained by H2O itself: one server of H2O for all of them, in a process of its own."""

import socket
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

COLUMNS = ("age", "income", "colour")


@cache
def h2o_server() -> Any:
    """H2O with a server on this machine only, which ends with this process."""
    import h2o

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    h2o.init(
        ip="127.0.0.1", port=port, bind_to_localhost=True, nthreads=1, max_mem_size="500m",
        strict_version_check=False,
    )  # fmt: skip
    h2o.no_progress()
    return h2o


def frame(h2o: Any, rows: dict[str, list[Any]]) -> Any:
    """A table: columns of words are categorical."""
    types = ["enum" if isinstance(column[0], str) else "numeric" for column in rows.values()]
    return h2o.H2OFrame(rows, column_types=types)


def training_rows(shift: float = 0.0) -> dict[str, list[Any]]:
    """People whose `y` depends on their age and colour, and whose `z` is a number."""
    random = np.random.default_rng(0)
    age = random.uniform(18, 80, 300)
    income = random.normal(50, 10, 300)
    colour = random.choice(["red", "gr\u00fcn", "blue"], 300)
    return {
        "age": age.tolist(),
        "income": income.tolist(),
        "colour": colour.tolist(),
        "y": np.where(age + 10 * (colour == "red") > 50 + shift, "yes", "no").tolist(),
        "z": (age * 2 + income + shift).tolist(),
    }


def answers(model: Any, table: Any) -> dict[str, np.ndarray]:
    """What H2O's server predicts."""
    found = model.predict(table).as_data_frame(use_pandas=False)
    names, *rows = found
    outputs: dict[str, np.ndarray] = {}
    for name, column in zip(names, zip(*rows, strict=True), strict=True):
        try:
            outputs[name] = np.array([float(value) for value in column])
        except ValueError:
            outputs[name] = np.array([value.encode() for value in column], object)
    return outputs


def save(model: Any, path: Path) -> None:
    """The model as a MOJO file, called as we like."""
    folder = path.parent
    Path(model.download_mojo(str(folder))).rename(path)
