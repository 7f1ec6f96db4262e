"""Where the server makes batches of a SavedModel's requests, they have their own executor."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from salver.backends.registry import Backends
from salver.backends.tensorflow import _ProgramWithBatchesApart
from salver.config.flags import Flags
from salver.config.settings import read_settings
from salver.core.servable import ServableId
from salver.loaders import Loaders
from salver.telemetry.serving_metrics import ServingMetrics
from tests.saved_models import version_path


@pytest.mark.parametrize(
    ("flags", "is_apart"),
    [
        pytest.param({}, False, id="tables only"),
        pytest.param({"batching": "off"}, False, id="off"),
        pytest.param({"batching": "auto"}, True, id="automatic"),
        pytest.param({"enable_batching": True}, True, id="parameters"),
    ],
)
async def test_batches_run_apart_where_there_will_be_any(
    saved_model_folder: Path, flags: dict[str, Any], is_apart: bool
) -> None:
    path = version_path(saved_model_folder, "keras")
    # With a number of threads nothing is decided for the other models of this process.
    given = Flags(model_base_path=path, tensorflow_session_parallelism=1, **flags)
    loaders = Loaders(read_settings(given), ServingMetrics(), Backends())
    loader = loaders.of(ServableId("keras", 1), path)
    servable = await asyncio.to_thread(loader.load)
    try:
        program = servable.signatures["serving_default"].executable.program
        assert isinstance(program, _ProgramWithBatchesApart) is is_apart
    finally:
        await asyncio.to_thread(loader.unload)
