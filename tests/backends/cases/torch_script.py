"""TorchScript with types and shapes beside it, two inputs, two outputs that only the file names."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.backends.contract import Arrays, BackendCase
from tests.backends.newer import member_changed, replaced

X = np.array([[1, 2, 3, 4], [5, -3, 0.5, 1], [0, 7, -1, 2]], np.float32)
SCALE = np.array([1, -2, 0.5], np.float64)


def make(folder: Path, variant: int) -> Arrays:
    import torch

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = torch.nn.Linear(4, 5)

        def forward(self, x: Any, scale: Any) -> tuple[Any, Any]:
            logits = self.dense(x)
            return logits * scale.to(logits.dtype).unsqueeze(1), logits.argmax(dim=1)

    torch.manual_seed(variant)
    net = Net().eval()
    inputs = (torch.from_numpy(X), torch.from_numpy(SCALE))
    _save(torch, net, inputs, folder)
    _state(
        folder,
        {"x": _tensor("float32", None, 4), "scale": _tensor("float64", None)},
        {"scaled": _tensor("float32", None, 5), "best": _tensor("int64", None)},
    )
    with torch.inference_mode():
        scaled, best = net(*inputs)
    return {"scaled": scaled.numpy(), "best": best.numpy()}


def make_large(folder: Path, size: int) -> None:
    import torch

    net = torch.nn.Linear(1024, size // 4 // 1024).eval()
    _save(torch, net, torch.zeros(3, 1024), folder)


def _save(torch: Any, net: Any, inputs: Any, folder: Path) -> None:
    torch.jit.trace(net, inputs).save(str(folder / "model.pt"))


def _tensor(data_type: str, *shape: int | None) -> dict[str, object]:
    return {"dtype": data_type, "shape": list(shape)}


def _state(folder: Path, inputs: Any, outputs: Any) -> None:
    content = {"inputs": inputs, "outputs": outputs}
    (folder / "signature.json").write_text(json.dumps(content))


CASE = BackendCase(
    platform="pytorch",
    make=make,
    make_large=make_large,
    inputs={"x": X, "scale": SCALE},
    model_file="model.pt",
    newer=member_changed("/version", replaced(b"3", b"99")),
    frameworks=["torch"],
)
