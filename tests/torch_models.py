"""PyTorch models for the tests, and archives that PyTorch did not write."""

import io
import json
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn


class Pair(NamedTuple):
    total: torch.Tensor
    twice: torch.Tensor


torch.utils._pytree._register_namedtuple(Pair, serialized_type_name="tests.Pair")


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(4, 8)
        self.last = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.hidden(x)))  # type: ignore[no-any-return]


class Pairs(nn.Module):
    def forward(
        self, x: torch.Tensor, more: torch.Tensor | None = None, times: int = 2
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if more is not None:
            return x + more, x * times
        return x, x * times


class Mapped(nn.Module):
    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"sum": x.sum(1), "half": x / 2}


class Counted(nn.Module):
    def forward(self, x: torch.Tensor, times: int) -> torch.Tensor:
        return x * times


class InPlace(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x += 1
        return x


class Saving(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch.save(x, "trace")
        return x


class Reading(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.from_file("/etc/hostname", False, 3, dtype=torch.uint8)


class Nested(nn.Module):
    def forward(self, x: torch.Tensor, others: dict[str, torch.Tensor], scale: float) -> Any:
        total = x + others["more"]
        return {"scaled": x * scale, "pair": Pair(total, x * 2), "list": [total, x]}


class Between(nn.Module):
    """A number that the export fixes stands between the inputs."""

    def forward(self, x: torch.Tensor, scale: float, input: torch.Tensor) -> torch.Tensor:
        return x * scale - input


class Reshaped(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(-1, 8).sum(1)


class Remembering(nn.Module):
    count: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.count += 1
        return x * 0 + self.count


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale


class CountedRows(nn.Module):
    """Creates a tensor where its input is."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.size(0) > 1:
            return x + torch.arange(x.size(0), device=x.device).unsqueeze(1)
        return x + torch.zeros_like(x) + x.new_zeros(1)


class CountedRowsOnCpu(nn.Module):
    """Creates a tensor on the CPU, in one of two branches."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.size(0) > 1:
            return x + torch.arange(x.size(0)).unsqueeze(1)
        return x


class BroughtBack(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * 2).cpu()


class Huge(nn.Module):
    def forward(self, n: torch.Tensor) -> torch.Tensor:
        return torch.zeros(int(n[0]), 1 << 30, device=n.device).sum(1)


class LookedUp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(3, 2)

    def forward(self, place: torch.Tensor) -> torch.Tensor:
        return self.table(place)  # type: ignore[no-any-return]


def script(module: nn.Module, folder: Path) -> Path:
    """Save a module as TorchScript; the file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made: Any = torch.jit.script(module.eval())
        made.save(str(folder / "model.pt"))
    return folder / "model.pt"


def traced(module: nn.Module, inputs: torch.Tensor, folder: Path) -> Path:
    """Save a trace of a module as TorchScript; the file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trace: Any = torch.jit.trace
        trace(module.eval(), inputs).save(str(folder / "model.pt"))
    return folder / "model.pt"


def exported(module: nn.Module, inputs: tuple[Any, ...], folder: Path, dynamic: Any = None) -> Path:
    """Export a module; the file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(module.eval(), inputs, dynamic_shapes=dynamic)
        torch.export.save(program, folder / "model.pt2")
    return folder / "model.pt2"


def plain(folder: Path) -> Path:
    """An exported program for any number of rows."""
    rows = {0: torch.export.Dim("rows")}
    return exported(Mlp(), (torch.ones(3, 4),), folder, (rows,))


def pickled(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def stated(folder: Path, content: Any) -> None:
    (folder / "signature.json").write_text(json.dumps(content))


def changed(file: Path, members: Mapping[str, bytes | None]) -> None:
    """Replace or add members, named without the archive's folder; None removes one."""
    with zipfile.ZipFile(file) as archive:
        contents: dict[str, bytes | None] = {n: archive.read(n) for n in archive.namelist()}
    root = next(iter(contents)).partition("/")[0]
    contents.update({f"{root}/{name}": content for name, content in members.items()})
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in contents.items():
            if content is not None:
                archive.writestr(name, content)


def member(file: Path, name: str) -> Any:
    """The content of a member in JSON."""
    with zipfile.ZipFile(file) as archive:
        root = archive.namelist()[0].partition("/")[0]
        return json.loads(archive.read(f"{root}/{name}"))
