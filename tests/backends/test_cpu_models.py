import asyncio
from pathlib import Path
from typing import Any

import pytest

from salver.backends.onnx import OnnxBackend, OnnxLoader
from salver.backends.registry import Backends
from salver.config.flags import Flags
from salver.config.settings import read_settings
from salver.core.backend import BackendOptions
from salver.core.servable import ServableId
from salver.loaders import Loaders
from salver.telemetry.serving_metrics import ServingMetrics
from tests import onnx_models


@pytest.mark.parametrize(
    ("cpu_models", "on_cpu"),
    [("", False), ("net", True), ("other, net", True), ("all", True), ("network", False)],
)
async def test_a_backend_is_told_which_models_stay_on_the_cpu(
    cpu_models: str, on_cpu: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []

    def loader(self: Any, folder: str, options: BackendOptions) -> OnnxLoader:
        told.append(options.on_cpu)
        return OnnxLoader(folder, options)

    monkeypatch.setattr(OnnxBackend, "loader", loader)
    path = onnx_models.write(onnx_models.half_plus_two(), tmp_path / "1")
    # With a number of threads nothing is decided for the other models of this process.
    flags = Flags(
        model_base_path=str(tmp_path), tensorflow_session_parallelism=1, cpu_models=cpu_models
    )
    version = Loaders(read_settings(flags), ServingMetrics(), Backends()).of(
        ServableId("net", 1), path
    )

    await asyncio.to_thread(version.load)
    await asyncio.to_thread(version.unload)

    assert set(told) == {on_cpu}
