"""Where PyTorch's models compute, as far as it can be told without a GPU; see `test_gpu.py`."""

import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from salver.backends.torch_device import Cpu, Gpu, device_for
from salver.backends.torch_export import load_exported
from salver.backends.torch_named_device import named_device
from salver.errors import InvalidArgument, ProcessUnusable, ResourceExhausted
from tests import torch_models

X = torch.ones(2, 4)


def traced(module: torch.nn.Module) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(module, X)  # type: ignore[no-untyped-call]


def scripted(module: torch.nn.Module) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(module.eval())


def naming(device: str) -> Any:
    """TorchScript that names the device, as a trace on a machine that has it does."""
    code = f"""
def forward(self, x: Tensor) -> Tensor:
    return x + torch.zeros([4], device=torch.device("{device}"))
"""
    # Modules of the same class share their methods.
    module = type(f"On{device.replace(':', '')}", (torch.jit.ScriptModule,), {})()
    module.define(code)
    return module


@pytest.mark.parametrize(
    ("module", "named"),
    [
        (scripted(torch_models.Mlp()), None),
        (scripted(torch_models.CountedRows()), None),
        (scripted(torch_models.CountedRowsOnCpu()), "cpu"),
        (scripted(torch_models.BroughtBack()), "cpu"),
        (traced(torch_models.Mlp()), None),
        (traced(torch_models.CountedRows()), "cpu"),
        (traced(torch_models.BroughtBack()), "cpu"),
        (naming("cpu"), "cpu"),
        (naming("cuda:1"), "cuda:1"),
    ],
)
def test_torchscript_may_name_its_device(module: Any, named: str | None) -> None:
    assert named_device(torch, module) == named


def test_it_may_do_so_in_a_module_within() -> None:
    outer = torch.nn.Sequential(torch_models.Mlp(), torch_models.CountedRowsOnCpu())

    assert named_device(torch, scripted(outer)) == "cpu"


def test_an_exported_program_moves_to_where_it_is_to_compute(tmp_path: Path) -> None:
    rows = {0: torch.export.Dim("rows", min=2)}
    file = torch_models.exported(torch_models.CountedRowsOnCpu(), (X,), tmp_path, (rows,))
    # PyTorch's device for tensors without values, which every machine has.
    meta: Any = SimpleNamespace(name="meta")

    model = load_exported(torch, str(file), "Model net: model.pt2", meta)

    answer = model.call([torch.ones(3, 4, device="meta")])[0]
    assert (answer.device.type, answer.shape) == ("meta", (3, 4))


# A GPU for which CUDA is replaced.


def no_gpu(cuda: Any) -> Gpu:
    return Gpu(SimpleNamespace(cuda=cuda, device=torch.device), "cuda:0")


def test_after_an_error_that_lasts_the_process_cannot_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def synchronize(device: Any) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered\nCompile with another flag")

    gpu = no_gpu(SimpleNamespace(synchronize=synchronize))

    raised = gpu.error(RuntimeError("CUDA error: device-side assert triggered"), "net")

    assert isinstance(raised, ProcessUnusable)
    assert "since a run failed: CUDA error: device-side assert triggered. Restart" in str(raised)
    with pytest.raises(ProcessUnusable, match="cannot use cuda:0 any more"):
        gpu.tensor(np.ones(2))
    assert isinstance(gpu.error(ValueError("another"), "net"), ProcessUnusable)
    assert len(caplog.records) == 1


def test_after_any_other_error_it_goes_on() -> None:
    gpu = no_gpu(SimpleNamespace(synchronize=lambda device: None))

    passing = gpu.error(RuntimeError("CUDA error: CUBLAS_STATUS_NOT_SUPPORTED when calling"), "net")
    memory = RuntimeError("CUDA out of memory. Tried to allocate 2 GiB.\nSee the documentation")

    assert isinstance(passing, InvalidArgument)
    full = gpu.error(memory, "net")
    assert isinstance(full, ResourceExhausted)
    assert str(full) == "Model net: CUDA out of memory. Tried to allocate 2 GiB."


def test_the_operator_has_the_last_word() -> None:
    class Seen:
        cuda = SimpleNamespace(is_available=lambda: True)
        device = torch.device

    assert device_for(Seen, on_cpu=False).name == "cuda:0"
    assert device_for(Seen, on_cpu=False) is device_for(Seen, on_cpu=False)
    assert isinstance(device_for(Seen, on_cpu=True), Cpu)
