"""Models on a GPU; skipped where CUDA finds none."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import requests
import torch

from salver.backends.onnx import OnnxLoader
from salver.backends.torch import TorchLoader
from salver.core.backend import BackendOptions
from salver.core.servable import Servable
from salver.errors import FailedPrecondition, ResourceExhausted
from tests import torch_models
from tests.backends.asking import ask
from tests.running import RunningServer, wait_until

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

Load = Callable[..., Servable]

X = np.arange(8, dtype=np.float32).reshape(2, 4)
WITH_ROW_NUMBERS = [[0, 1, 2, 3], [5, 6, 7, 8]]


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    """Loads what PyTorch has saved in the folder of the test."""
    loaders = []

    def load(**options: Any) -> Servable:
        loaders.append(TorchLoader(str(tmp_path), BackendOptions(model_name="net", **options)))
        return loaders[-1].load()

    yield load
    for loader in loaders:
        loader.unload()


def device_of(servable: Any) -> str:
    return str(servable._models[0].device.name)


def test_an_exported_program_gives_what_the_cpu_gives(load: Load, tmp_path: Path) -> None:
    torch_models.plain(tmp_path)

    on_gpu, on_cpu = load(), load(on_cpu=True)

    assert (device_of(on_gpu), device_of(on_cpu)) == ("cuda:0", "cpu")
    expected = ask(on_cpu, {"x": X})["output_0"]
    np.testing.assert_allclose(ask(on_gpu, {"x": X})["output_0"], expected, rtol=1e-4)


def test_tensors_that_a_program_creates_are_on_the_gpu(load: Load, tmp_path: Path) -> None:
    rows = {0: torch.export.Dim("rows", min=2)}
    torch_models.exported(torch_models.CountedRowsOnCpu(), (torch.ones(3, 4),), tmp_path, (rows,))

    assert ask(load(), {"x": X})["output_0"].tolist() == WITH_ROW_NUMBERS


def test_what_was_exported_on_a_gpu_is_served_beside_one(load: Load, tmp_path: Path) -> None:
    net = torch_models.Mlp().cuda()
    rows = ({0: torch.export.Dim("rows")},)
    torch_models.exported(net, (torch.ones(3, 4, device="cuda"),), tmp_path, rows)
    expected = net(torch.from_numpy(X).cuda()).detach().cpu().numpy()

    for servable in (load(), load(on_cpu=True)):
        np.testing.assert_allclose(ask(servable, {"x": X})["output_0"], expected, rtol=1e-4)

    code = (
        "import sys; from salver.backends.torch import TorchLoader;"
        "from salver.core.backend import BackendOptions;"
        "TorchLoader(sys.argv[1], BackendOptions(model_name='net')).load()"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
    )
    assert "model.pt2 was exported on a GPU, and PyTorch finds none here" in told.stderr


@pytest.mark.parametrize("module", [torch_models.Mlp(), torch_models.CountedRows()])
def test_torchscript_gives_what_the_cpu_gives(
    module: torch.nn.Module, load: Load, tmp_path: Path
) -> None:
    torch_models.script(module, tmp_path)

    on_gpu, on_cpu = load(), load(on_cpu=True)

    assert device_of(on_gpu) == "cuda:0"
    for rows in (2, 1, 2):
        expected = ask(on_cpu, {"x": X[:rows]})["output_0"]
        found = ask(on_gpu, {"x": X[:rows]})["output_0"]
        np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_torchscript_that_names_the_cpu_stays_there(
    load: Load, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch_models.script(torch_models.CountedRowsOnCpu(), tmp_path)

    servable = load()

    assert device_of(servable) == "cpu"
    assert ask(servable, {"x": X})["output_0"].tolist() == WITH_ROW_NUMBERS
    assert "computes on the CPU although there is a GPU" in caplog.text


def test_torchscript_that_names_a_gpu_is_for_a_gpu(load: Load, tmp_path: Path) -> None:
    ones = torch.ones(2, 4, device="cuda")
    torch_models.traced(torch_models.CountedRows().cuda(), ones, tmp_path)

    assert ask(load(), {"x": X})["output_0"].tolist() == WITH_ROW_NUMBERS
    with pytest.raises(FailedPrecondition, match="computes on cuda:0 alone"):
        load(on_cpu=True)


def test_a_module_that_was_pickled_moves_to_the_gpu(load: Load, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(torch_models.pickled(torch_models.Mlp()))
    torch_models.stated(
        tmp_path,
        {
            "inputs": {"x": {"dtype": "float32", "shape": [None, 4]}},
            "outputs": {"y": {"dtype": "float32", "shape": [None, 2]}},
        },
    )

    servable = load(allow_pickle=True)

    assert device_of(servable) == "cuda:0"
    assert ask(servable, {"x": X})["y"].shape == (2, 2)


def test_bfloat16_goes_in_and_out(load: Load, tmp_path: Path) -> None:
    inputs = (torch.ones(3, 4, dtype=torch.bfloat16),)
    torch_models.exported(torch_models.InPlace(), inputs, tmp_path, ({0: torch.export.Dim("n")},))
    x = X.astype(ml_dtypes.bfloat16)

    answer = ask(load(), {"x": x})["output_0"]

    assert answer.dtype == ml_dtypes.bfloat16
    assert answer.astype(np.float32).tolist() == (X + 1).tolist()


def test_runs_side_by_side_are_not_mixed_up(load: Load, tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch_models.plain(tmp_path)
    on_gpu, on_cpu = load(), load(on_cpu=True)
    generator = np.random.default_rng(0)
    inputs = [generator.random((1 + n % 5, 4), np.float32) for n in range(400)]

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda x: ask(on_gpu, {"x": x})["output_0"], inputs))

    for x, answer in zip(inputs, answers, strict=True):
        expected = ask(on_cpu, {"x": x})["output_0"]
        np.testing.assert_allclose(answer, expected, rtol=1e-3, atol=1e-5)


def test_a_request_for_more_memory_than_there_is_disturbs_no_other(
    load: Load, tmp_path: Path
) -> None:
    torch_models.script(torch_models.Huge(), tmp_path)
    torch_models.stated(tmp_path, {"inputs": {"n": {"dtype": "int64", "shape": [1]}}})
    servable = load()

    with pytest.raises(ResourceExhausted, match="out of memory"):
        ask(servable, {"n": np.array([1000])})

    assert ask(servable, {"n": np.array([1])})["output_0"].tolist() == [0]


def test_unloading_gives_the_memory_back(tmp_path: Path) -> None:
    torch_models.script(torch.nn.Linear(8192, 8192), tmp_path)
    loader = TorchLoader(str(tmp_path), BackendOptions(model_name="net"))
    before = torch.cuda.memory_reserved()
    servable = loader.load()
    ask(servable, {"input": np.ones((1, 8192), np.float32)})
    assert torch.cuda.memory_reserved() - before >= 8192 * 8192 * 4
    del servable

    loader.unload()

    # What cuBLAS keeps to work with stays.
    assert torch.cuda.memory_reserved() - before < 8192 * 8192 * 4


def test_a_fault_of_the_gpu_costs_only_the_worker(tmp_path: Path) -> None:
    version = tmp_path / "net" / "1"
    version.mkdir(parents=True)
    rows = {0: torch.export.Dim("rows")}
    torch_models.exported(
        torch_models.LookedUp(), (torch.zeros(3, dtype=torch.int64),), version, (rows,)
    )
    flags = ["--model_name=net", f"--model_base_path={tmp_path / 'net'}"]

    with RunningServer(*flags) as server:
        url = f"{server.url}/v1/models/net:predict"
        assert requests.post(url, json={"instances": [1]}, timeout=60).status_code == 200
        bad = requests.post(url, json={"instances": [77]}, timeout=60)

        assert bad.status_code == 503, bad.text
        assert "device-side assert triggered" in bad.json()["error"]
        server.wait_for_line("The worker ends, and another one is started")
        wait_until(
            lambda: requests.post(url, json={"instances": [1]}, timeout=60).status_code == 200,
            "the worker is there again",
        )


# ONNX.


def test_onnx_models_run_on_the_gpu(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" not in runtime.get_available_providers():
        pytest.skip("ONNX Runtime is built for the CPU")
    from tests import onnx_models

    onnx_models.write(onnx_models.half_plus_two(), tmp_path)
    loaders = [
        OnnxLoader(str(tmp_path), BackendOptions(model_name="net", on_cpu=on_cpu))
        for on_cpu in (False, True)
    ]

    used = []
    for loader in loaders:
        servable: Any = loader.load()
        used.append(servable._sessions[0].get_providers()[0])
        assert ask(servable, {"x": X[0]})["y"].tolist() == (X[0] / 2 + 2).tolist()
        loader.unload()

    assert used == ["CUDAExecutionProvider", "CPUExecutionProvider"]
