"""A model that only MLflow can load: code beside an `MLmodel`, with columns and a parameter."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from tests.backends.contract import Arrays, BackendCase

SOURCE = """\
import mlflow
import numpy as np
import pandas as pd


class Priced(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        prices = {{"red": 2.5, "gr\u00fcn": 4.0}}
        price = np.array([prices.get(word, {other}) for word in model_input["colour"]])
        return pd.DataFrame({{
            "price": model_input["visits"].to_numpy() * price,
            "word": [word.upper() for word in model_input["colour"]],
        }})


mlflow.models.set_model(Priced())
"""
INPUTS: Arrays = {
    "visits": np.array([3, 0, 12, 7], np.int64),
    "colour": np.array([b"red", b"blue", "gr\u00fcn".encode(), b""], object),
}


def make(folder: Path, variant: int) -> Arrays:
    import mlflow
    import pandas as pd

    rows = pd.DataFrame(
        {"visits": INPUTS["visits"], "colour": [text.decode() for text in INPUTS["colour"]]}
    )
    answers = pd.DataFrame({"price": [1.0], "word": ["A"]})
    with TemporaryDirectory() as beside:
        code = Path(beside, "priced.py")
        code.write_text(SOURCE.format(other=float(variant)))
        signature = mlflow.models.infer_signature(rows, answers)
        mlflow.pyfunc.save_model(folder / "model", python_model=str(code), signature=signature,
                                 pip_requirements=["mlflow-skinny"])  # fmt: skip
    found = mlflow.pyfunc.load_model(str(folder / "model")).predict(rows)
    words = np.array([word.encode() for word in found["word"]], object)
    return {"price": found["price"].to_numpy(), "word": words}


CASE = BackendCase(
    platform="mlflow",
    make=make,
    inputs=INPUTS,
    model_file="model/MLmodel",
    frameworks=["mlflow", "pandas", "yaml"],
    in_server=True,
)
"""The model folder lies in the version folder."""
