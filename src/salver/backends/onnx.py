"""ONNX models, run by ONNX Runtime.

It comes in the package `onnxruntime`: MIT, 27 MB, wheels for Python 3.11 to 3.14, x86-64 and ARM.
Imported when the first model needs it. A run holds no interpreter lock and happens in the
thread that calls, so that callers side by side use all cores; what Python adds to it is four
microseconds. The runtime itself keeps data of a model within the model's folder.
"""

import logging
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from salver.backends.allocator import keep_freed_memory, trim_memory
from salver.backends.onnx_errors import load_error
from salver.backends.onnx_servable import OnnxServable
from salver.backends.onnx_signature import signature_of
from salver.backends.prerequisites import imported
from salver.backends.tensorflow import estimated_bytes
from salver.core.backend import BackendOptions
from salver.errors import NotFound

logger = logging.getLogger(__name__)

FILE_NAME = "model.onnx"

_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
_CUDA_OPTIONS = {"cudnn_conv_algo_search": "HEURISTIC"}
"""To look for the quickest convolution by trial takes up to seven times as long for each new shape,
0.7 s for a ResNet-50, and finds none that is quicker."""
_NO_LOG = 4
"""Fatal errors alone: all others come as exceptions, and the runtime would write them as well."""


class OnnxBackend:
    """Version folders with `model.onnx`; see `salver.core.backend.Backend`."""

    name = "onnx"
    extra = "onnx"
    wraps = False
    keeps_own_threads = True

    def lacking(self, names: Collection[str]) -> str | None:
        return None if FILE_NAME in names else FILE_NAME

    def detects(self, folder: Path) -> bool:
        return (folder / FILE_NAME).is_file()

    def loader(self, folder: str, options: BackendOptions) -> "OnnxLoader":
        return OnnxLoader(folder, options)

    def estimated_bytes(self, folder: Path) -> int:
        return estimated_bytes(str(folder))


BACKEND = OnnxBackend()


class OnnxLoader:
    """Loads the `model.onnx` of one version folder."""

    def __init__(self, folder: str, options: BackendOptions) -> None:
        self._path = os.path.join(folder, FILE_NAME)
        self._options = options
        self._servable: OnnxServable | None = None

    def load(self) -> OnnxServable:
        """Read the model and prepare its graph. From a load thread.

        Raises:
            FailedPrecondition: ONNX Runtime is not installed.
            NotFound: there is no such file, or data that it refers to is missing.
            InvalidArgument: it is no ONNX model, or reaches out of its folder.
            Unimplemented: the runtime does not know what the model is made of.
        """
        if not os.path.exists(self._path):
            raise NotFound(f"{self._path}; No such file or directory")
        runtime = imported("onnxruntime", self._options, BACKEND.extra)
        keep_freed_memory()
        session = self._session(runtime)
        signature = signature_of(session, self._path, self._options.model_name)
        self._servable = OnnxServable(session, signature, self._options.model_name)
        return self._servable

    def _session(self, runtime: Any) -> Any:
        options = runtime.SessionOptions()
        # One thread: runs side by side give more than threads within one, and need no pool.
        options.intra_op_num_threads = self._options.intra_op_threads or 1
        options.inter_op_num_threads = 1
        options.log_severity_level = _NO_LOG
        runtime.set_default_logger_severity(_NO_LOG)
        # Threads that wait for work would take the cores from everything else in the process.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        wants_gpu = not self._options.on_cpu and _CUDA in runtime.get_available_providers()
        if wants_gpu:
            # Of NVIDIA's packages, or PyTorch's: nothing else would look for them there.
            runtime.preload_dlls()
        providers = [(_CUDA, _CUDA_OPTIONS), _CPU] if wants_gpu else [_CPU]
        try:
            session = runtime.InferenceSession(self._path, options, providers=providers)
        except Exception as error:
            raise load_error(error, self._options.model_name, FILE_NAME) from error
        # A session that fails on a GPU would otherwise be made again, under the requests' feet.
        session.disable_fallback()
        used = session.get_providers()
        logger.info("%s runs on %s", self._path, ", ".join(used))
        if wants_gpu and _CUDA not in used:
            logger.warning(
                "%s runs on the CPU: ONNX Runtime is built for GPUs, but finds no GPU, or not the "
                "libraries of CUDA and cuDNN that it needs: "
                "pip install 'onnxruntime-gpu[cuda,cudnn]' brings them",
                self._path,
            )
        return session

    def unload(self) -> None:
        """Let the session go and give its memory back to the system."""
        if self._servable is not None:
            self._servable.close()
            self._servable = None
        trim_memory()
