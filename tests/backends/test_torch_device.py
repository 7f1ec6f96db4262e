"""Where PyTorch's models compute, as far as it can be told without a GPU; see `test_gpu.py`."""

import json
import warnings
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

from salver.backends import torch_device
from salver.backends.torch import BACKEND, TorchLoader
from salver.backends.torch_archive import PROGRAM
from salver.backends.torch_device import Cpu, Gpu, device_for
from salver.backends.torch_export import load_exported
from salver.backends.torch_named_device import named_device
from salver.backends.torch_tensors import (
    allow_read_only,
    array_of,
    load_error,
    run_error,
    shared_tensor_of,
)
from salver.core.backend import Apart, BackendOptions, apart
from salver.errors import FailedPrecondition, ProcessUnusable, ResourceExhausted
from tests import torch_models

X = torch.ones(2, 4)


def traced(module: torch.nn.Module) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trace: Any = torch.jit.trace
        return trace(module, X)


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


def test_what_was_exported_on_a_gpu_needs_one(tmp_path: Path) -> None:
    file = torch_models.plain(tmp_path)
    program = json.dumps(torch_models.member(file, PROGRAM))
    elsewhere = program.replace('"type": "cpu"', '"type": "cuda"')
    assert elsewhere != program
    torch_models.changed(file, {PROGRAM: elsewhere.encode()})

    with pytest.raises(FailedPrecondition, match="was exported on a GPU, and PyTorch finds none"):
        TorchLoader(str(tmp_path), BackendOptions(model_name="net", allow_pickle=True)).load()


# A GPU for which CUDA is replaced.


def no_gpu(cuda: Any) -> Gpu:
    class Replaced:
        device, from_numpy = torch.device, torch.from_numpy

    return Gpu(type("WithCuda", (Replaced,), {"cuda": cuda}), "cuda:0")


def test_after_an_error_that_lasts_the_process_cannot_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def synchronize(device: Any) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered\nCompile with another flag")

    gpu = no_gpu(SimpleNamespace(synchronize=synchronize))

    lost = gpu.lost(RuntimeError("CUDA error: device-side assert triggered"))

    assert isinstance(lost, ProcessUnusable)
    assert "since a run failed: CUDA error: device-side assert triggered. Restart" in str(lost)
    with pytest.raises(ProcessUnusable, match="cannot use cuda:0 any more"):
        gpu.tensor(np.ones(2))
    assert isinstance(gpu.lost(ValueError("another")), ProcessUnusable)
    assert len(caplog.records) == 1


def test_after_any_other_error_it_goes_on() -> None:
    gpu = no_gpu(SimpleNamespace(synchronize=lambda device: None))

    assert gpu.lost(RuntimeError("CUDA error: CUBLAS_STATUS_NOT_SUPPORTED when calling")) is None
    assert gpu.lost(ValueError("another")) is None


@pytest.mark.parametrize("kind", ["float32", "bfloat16", "uint16", "bool", ">i4"])
def test_arrays_on_the_way_to_a_gpu_are_not_copied_twice_nor_warned_about(kind: str) -> None:
    given = np.array([[1, 0, 3], [4, 5, 6]]).astype(
        ml_dtypes.bfloat16 if kind == "bfloat16" else kind
    )
    given.flags.writeable = False
    allow_read_only(torch)

    # Warnings are errors here.
    for array in (given, given[:, ::2], given.T, given[0, 0]):
        tensor = shared_tensor_of(torch, np.asarray(array))
        np.testing.assert_array_equal(array_of(torch, tensor), array)

    shares = shared_tensor_of(torch, given).data_ptr() == given.ctypes.data
    assert shares is given.dtype.isnative


@pytest.mark.parametrize(
    "value",
    [
        torch.nn.Parameter(X),
        torch.tensor([1 + 2j, 3 - 1j]).conj(),
        torch.tensor([1 + 2j, 3 - 1j]).conj().imag,
        X.T,
        X.to(torch.bfloat16),
    ],
    ids=["a parameter", "conjugated", "negated", "transposed", "bfloat16"],
)
def test_whatever_a_model_computes_becomes_an_array(value: torch.Tensor) -> None:
    found = array_of(torch, value)

    assert found.tolist() == value.detach().tolist()


def test_of_a_long_error_what_it_says_of_memory_is_told() -> None:
    error = RuntimeError(
        "The following operation failed in the TorchScript interpreter.\n"
        "Traceback of TorchScript (most recent call last):\n"
        "RuntimeError: CUDA out of memory. Tried to allocate 2 GiB.\n"
        "See the documentation"
    )

    for told, begin in (
        (run_error(error, "net"), "Model net: "),
        (load_error(error, "a file"), ""),
    ):
        assert isinstance(told, ResourceExhausted)
        assert str(told).startswith(begin)
        assert str(told).endswith("CUDA out of memory. Tried to allocate 2 GiB.")


def test_the_operator_has_the_last_word() -> None:
    class Seen:
        cuda = SimpleNamespace(is_available=lambda: True)
        device, from_numpy = torch.device, torch.from_numpy

    assert device_for(Seen, on_cpu=False).name == "cuda:0"
    assert device_for(Seen, on_cpu=False) is device_for(Seen, on_cpu=False)
    assert isinstance(device_for(Seen, on_cpu=True), Cpu)


@pytest.mark.parametrize(
    ("files", "visible", "version", "expected"),
    [
        pytest.param(["nvidia0", "nvidiactl"], None, "2.13.0", True, id="NVIDIA"),
        pytest.param(["nvidia1"], "1", "2.13.0+cu130", True, id="one of several"),
        pytest.param(["kfd"], None, "2.13.0+rocm7.0", True, id="AMD"),
        pytest.param(["nvidiactl"], None, "2.13.0", False, id="a driver alone"),
        pytest.param(["nvidia0"], "-1", "2.13.0", False, id="hidden"),
        pytest.param(["nvidia0"], "", "2.13.0", False, id="none visible"),
        pytest.param(["nvidia0"], None, "2.13.0+cpu", False, id="PyTorch for CPUs"),
        pytest.param(["nvidia0"], None, None, False, id="no PyTorch"),
    ],
)
def test_whether_there_is_a_gpu_is_known_before_pytorch_is_imported(
    files: list[str],
    visible: str | None,
    version: str | None,
    expected: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def version_of(name: str) -> str:
        if version is None:
            raise metadata.PackageNotFoundError(name)
        return version

    for name in files:
        (tmp_path / name).touch()
    monkeypatch.setattr(torch_device, "_DEVICE_FILES", tmp_path)
    monkeypatch.setattr(metadata, "version", version_of)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    need = Apart.MAY_LOSE_PROCESS if expected else Apart.NEEDLESS
    assert apart(BACKEND, BackendOptions(model_name="net")) is need
    assert apart(BACKEND, BackendOptions(model_name="net", on_cpu=True)) is Apart.NEEDLESS
