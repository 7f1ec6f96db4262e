"""Where a PyTorch model computes: on a GPU if CUDA finds one, else on the CPU.

Each thread that runs models has a stream of its own on the GPU: copies and kernels of runs side by
side overlap, where they would wait for each other in the default one.
"""

import logging
import os
import threading
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from salver.backends.torch_tensors import (
    allow_read_only,
    first_line,
    shared_tensor_of,
    tensor_of,
)
from salver.errors import ProcessUnusable

logger = logging.getLogger(__name__)

_DEVICE_FILES = Path("/dev")
_GPUS = ("nvidia[0-9]*", "kfd", "dxg")
"""Of NVIDIA's driver, of AMD's, of Windows for the Linux in it."""


class Device(Protocol):
    """Takes arrays in, and knows its errors. From any thread."""

    name: str
    """As PyTorch has it: `cpu`, `cuda:0`."""

    def tensor(self, array: np.ndarray) -> Any:
        """A tensor there, with a copy of the array: a model may change what it is given in place.

        Raises:
            TypeError: PyTorch has no such type.
        """

    def lost(self, error: Exception) -> ProcessUnusable | None:
        """See, after an error, whether this process can go on with it; None if it can."""

    def finish_load(self) -> None:
        """Wait until the weights of a model are there, whichever thread runs it."""

    def trim(self) -> None:
        """Give memory back that is free but kept for later."""


class Cpu:
    """The processor."""

    name = "cpu"

    def __init__(self, torch: Any) -> None:
        self._torch = torch
        allow_read_only(torch)

    def tensor(self, array: np.ndarray) -> Any:
        return tensor_of(self._torch, array)

    def lost(self, error: Exception) -> ProcessUnusable | None:
        """A processor that computes wrong does not tell."""

    def finish_load(self) -> None:
        """Nothing is on its way."""

    def trim(self) -> None:
        """The allocator is asked by whoever unloads."""


class Gpu:
    """One GPU, as CUDA sees it; ROCm's builds of PyTorch say CUDA, too."""

    def __init__(self, torch: Any, name: str) -> None:
        self.name = name
        self._torch = torch
        self._device = torch.device(name)
        self._own = threading.local()
        self._lost = ""
        allow_read_only(torch)

    def tensor(self, array: np.ndarray) -> Any:
        if self._lost:
            raise self._unusable()
        if not hasattr(self._own, "stream"):
            self._own.stream = self._torch.cuda.Stream(self._device)
            # Of this thread alone, from now on.
            self._torch.cuda.set_stream(self._own.stream)
        return shared_tensor_of(self._torch, array).to(self._device)

    def lost(self, error: Exception) -> ProcessUnusable | None:
        """After some errors CUDA computes nothing any more, for the whole process."""
        if not self._lost and " error: " in str(error):
            try:
                self._torch.cuda.synchronize(self._device)
            except Exception as lasting:  # noqa: BLE001 - PyTorch has had several types for it
                self._lost = first_line(lasting)
                logger.error("%s", self._unusable())
        return self._unusable() if self._lost else None

    def _unusable(self) -> ProcessUnusable:
        return ProcessUnusable(
            f"PyTorch cannot use {self.name} any more in this process, since a run failed: "
            f"{self._lost}. Restart the server; a model in a process of its own "
            "(--isolate_models) is restarted alone, at once"
        )

    def finish_load(self) -> None:
        self._torch.cuda.synchronize(self._device)

    def trim(self) -> None:
        if not self._lost:
            self._torch.cuda.empty_cache()


def device_for(torch: Any, on_cpu: bool) -> Device:
    """The first GPU that can be seen, else the CPU.

    Args:
        torch: PyTorch.
        on_cpu: whether the operator wants the model there in any case.
    """
    if on_cpu or not torch.cuda.is_available():
        return Cpu(torch)
    return _gpu(torch, "cuda:0")


@cache
def _gpu(torch: Any, name: str) -> Gpu:
    """One for all models: what happens to it happens to all of them."""
    return Gpu(torch, name)


def expects_gpu() -> bool:
    """Whether PyTorch is going to find a GPU, as far as can be told without its import."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return False
    try:
        is_for_cpus = metadata.version("torch").endswith("+cpu")
    except metadata.PackageNotFoundError:
        return False
    return not is_for_cpus and any(
        file for pattern in _GPUS for file in _DEVICE_FILES.glob(pattern)
    )
