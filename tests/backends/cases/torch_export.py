"""An exported program with two inputs whose rows go together, and a dictionary of outputs."""

from pathlib import Path
from typing import Any

import numpy as np

from tests.backends.contract import Arrays, BackendCase
from tests.backends.newer import member_changed, replaced

X = np.array([[1, 2, 3, 4], [5, -3, 0.5, 1], [0, 7, -1, 2]], np.float32)
PLACES = np.array([2, 0, 1], np.int64)


def make(folder: Path, variant: int) -> Arrays:
    import torch

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = torch.nn.Embedding(3, 2)
            self.dense = torch.nn.Linear(6, 5)

        def forward(self, x: Any, place: Any) -> Any:
            logits = self.dense(torch.cat([x, self.table(place)], dim=1))
            return {"scores": logits.softmax(dim=1), "best": logits.argmax(dim=1)}

    torch.manual_seed(variant)
    net = Net().eval()
    inputs = (torch.from_numpy(X), torch.from_numpy(PLACES))
    _save(torch, net, inputs, folder)
    with torch.inference_mode():
        return {name: tensor.numpy() for name, tensor in net(*inputs).items()}


def make_large(folder: Path, size: int) -> None:
    import torch

    net = torch.nn.Linear(1024, size // 4 // 1024).eval()
    _save(torch, net, (torch.zeros(3, 1024),), folder)


def _save(torch: Any, net: Any, inputs: tuple[Any, ...], folder: Path) -> None:
    rows = torch.export.Dim("rows")
    program = torch.export.export(net, inputs, dynamic_shapes=tuple({0: rows} for _ in inputs))
    torch.export.save(program, folder / "model.pt2")


CASE = BackendCase(
    platform="pytorch",
    make=make,
    make_large=make_large,
    inputs={"x": X, "place": PLACES},
    model_file="model.pt2",
    newer=member_changed(
        "models/model.json",
        replaced(b'"schema_version": {"major": ', b'"schema_version": {"major": 9'),
    ),
    frameworks=["torch"],
)
