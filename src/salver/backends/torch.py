"""PyTorch models: what `torch.export` saves, `.pt2`, and TorchScript archives.

A bare pickled module is code, and loaded only if the operator said so. Which of them a file is tell
the members of its archive, which nothing unpickles. Models are on the GPU where there is one. Runs
happen in inference mode, with one thread each; TorchScript computes without the interpreter lock,
an exported graph takes it between its operations. PyTorch comes in the package `torch`:
BSD-3-Clause, 860 MB installed in its build for CPUs, wheels for Python 3.11 to 3.14.
"""

import logging
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from salver.backends.allocator import keep_freed_memory, trim_memory
from salver.backends.prerequisites import imported, require_pickle_allowed
from salver.backends.torch_archive import Kind, kind_of
from salver.backends.torch_device import Device, device_for, expects_gpu
from salver.backends.torch_export import load_exported
from salver.backends.torch_export_check import check_exported
from salver.backends.torch_module import load_pickled, load_script
from salver.backends.torch_servable import TorchServable
from salver.backends.torch_tensors import load_error
from salver.core.backend import BackendOptions
from salver.errors import NotFound, ServingError

logger = logging.getLogger(__name__)

EXPORTED, MODULE = "model.pt2", "model.pt"
FILE_NAMES = (EXPORTED, MODULE)


class TorchBackend:
    """Version folders with `model.pt2` or `model.pt`; see `salver.core.backend.Backend`."""

    name = "pytorch"
    extra = "torch"
    wraps = False

    def lacking(self, names: Collection[str]) -> str | None:
        return None if any(name in names for name in FILE_NAMES) else EXPORTED

    def detects(self, folder: Path) -> bool:
        return any((folder / name).is_file() for name in FILE_NAMES)

    def loader(self, folder: str, options: BackendOptions) -> "TorchLoader":
        return TorchLoader(folder, options)

    def may_lose_process(self, options: BackendOptions) -> bool:
        return not options.on_cpu and expects_gpu()

    def estimated_bytes(self, folder: Path) -> int:
        return (folder / _file_name(str(folder))).stat().st_size


BACKEND = TorchBackend()


class TorchLoader:
    """Loads the `model.pt2`, or else the `model.pt`, of one version folder."""

    def __init__(self, folder: str, options: BackendOptions) -> None:
        self._folder = folder
        self._options = options
        self._servable: TorchServable | None = None
        self._device: Device | None = None

    def load(self) -> TorchServable:
        """Look at the file, import PyTorch, read the model. From a load thread.

        Raises:
            FailedPrecondition: PyTorch is not installed.
            NotFound: there is no such file.
            PermissionDenied: the file may run code when it is loaded, and nobody has allowed it.
            InvalidArgument: it is no model.
            ResourceExhausted: it does not fit into the memory of its device.
            ProcessUnusable: the GPU has failed before.
            Unimplemented: the model takes or gives what cannot be served.
        """
        file = _file_name(self._folder)
        path = os.path.join(self._folder, file)
        if not os.path.exists(path):
            raise NotFound(f"{path}; No such file or directory")
        where = f"Model {self._options.model_name}: {file}"
        kind = kind_of(path, where)
        if kind is Kind.PICKLE:
            require_pickle_allowed(file, self._options)
        torch = imported("torch", self._options, BACKEND.extra)
        keep_freed_memory()
        # Of the whole process, as PyTorch has it.
        torch.set_num_threads(self._options.intra_op_threads or 1)
        try:
            self._servable = self._loaded(torch, path, kind, where)
        except ServingError:
            raise
        except Exception as error:
            lost = self._device.lost(error) if self._device is not None else None
            raise lost or load_error(error, where) from error
        return self._servable

    def _loaded(self, torch: Any, path: str, kind: Kind, where: str) -> TorchServable:
        allow_pickle = self._options.allow_pickle
        device = self._device = device_for(torch, self._options.on_cpu)
        if kind is Kind.EXPORTED:
            if not allow_pickle:
                check_exported(torch, path, where)
            model = load_exported(torch, path, where, device)
        elif kind is Kind.SCRIPT:
            model = load_script(torch, path, where, allow_pickle, device)
        else:
            model = load_pickled(torch, path, where, device)
        model.device.finish_load()
        logger.info("%s runs on %s", path, model.device.name)
        return TorchServable(torch, self._options.model_name, model)

    def unload(self) -> None:
        """Let the model go and give its memory back to the system."""
        if self._servable is not None:
            self._servable.close()
            self._servable = None
        if self._device is not None:
            self._device.trim()
        trim_memory()


def _file_name(folder: str) -> str:
    for name in FILE_NAMES:
        if os.path.exists(os.path.join(folder, name)):
            return name
    return EXPORTED
