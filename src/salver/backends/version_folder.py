"""One version folder, and all that the operator has said about how its model is loaded."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from salver.backends.detecting import PIPELINE, DetectingLoader, NamedLoader, PipelineChoiceLoader
from salver.backends.registry import Backends
from salver.backends.saved_model_files import SAVED_MODEL_FILES
from salver.backends.tensorflow import TensorFlowLoader, TensorFlowOptions, estimated_bytes
from salver.backends.tflite import BACKEND as TFLITE
from salver.backends.tflite import TfLiteLoader, TfLiteOptions
from salver.backends.tflite_first import TfLiteFirstLoader
from salver.core.backend import (
    AUTOMATIC,
    TENSORFLOW,
    Apart,
    Backend,
    BackendOptions,
    apart,
    keeps_own_threads,
    rows_are_independent,
    served_by,
)
from salver.core.servable import Loader
from salver.errors import ServingError


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionFolder:
    """Plain values, so that another process can be told."""

    path: str
    platform: str
    """`model_platform` of the config."""
    tensorflow: TensorFlowOptions
    tflite: TfLiteOptions
    prefers_tflite: bool
    """Whether `model.tflite` comes before a SavedModel."""
    backend: BackendOptions
    """For all other frameworks."""

    def loader(self, backends: Backends) -> Loader:
        """The loader of the model and of what stands around it; looks at the folder at load."""
        return PipelineChoiceLoader(self.path, self._framework_loader(backends), self.backend)

    def _framework_loader(self, backends: Backends) -> Loader:
        if self.platform == TENSORFLOW:
            return self._tensorflow_loader()
        if self.platform == AUTOMATIC:
            saved_model = self._tensorflow_loader()
            return DetectingLoader(self.path, saved_model, backends, self._backend_loader)
        return NamedLoader(self.platform, backends, self._backend_loader)

    def _backend_loader(self, backend: Backend) -> Loader:
        if backend is TFLITE:
            return TfLiteLoader(self.path, self.tflite)
        return backend.loader(self.path, self.backend)

    def _tensorflow_loader(self) -> Loader:
        loader = TensorFlowLoader(self.path, self.tensorflow)
        if self.prefers_tflite:
            return TfLiteFirstLoader(self.path, TfLiteLoader(self.path, self.tflite), loader)
        return loader

    def apart(self, backends: Backends) -> Apart:
        """Whether it needs processes of its own, as far as the files tell now.

        No, where they do not tell: then the load is going to fail, too.
        """
        if self._has(PIPELINE):
            return Apart.HOLDS_LOCK
        backend = self._running_backend(backends)
        return Apart.NEEDLESS if backend is None else apart(backend, self.backend)

    def rows_are_independent(self, backends: Backends) -> bool:
        """Whether rows surely do not depend on each other, as far as the files tell now.

        No, where they do not tell: then the load is going to fail, too.
        """
        backend = None if self._has(PIPELINE) else self._running_backend(backends)
        return backend is not None and rows_are_independent(backend)

    def estimated_bytes(self, backends: Backends) -> int:
        """What the model will take in memory, roughly, as far as the files tell now.

        0, where they do not tell: then the load is going to fail, too, or they are not local.
        """
        try:
            if self.prefers_tflite and TFLITE.detects(Path(self.path)):
                return TFLITE.estimated_bytes(Path(self.path))
            if self._is_saved_model():
                return estimated_bytes(self.path)
            backend = self._backend(backends)
            return 0 if backend is None else backend.estimated_bytes(Path(self.path))
        except (ServingError, OSError):
            return 0

    def _is_saved_model(self) -> bool:
        if self.platform == AUTOMATIC:
            return any(map(self._has, SAVED_MODEL_FILES))
        return self.platform == TENSORFLOW

    def _running_backend(self, backends: Backends) -> Backend | None:
        """The one whose runs a request gets; None for TensorFlow, and where the files do not tell.

        Not the one that loads the folder, if that leaves the model to another.
        """
        backend = None if self._is_saved_model() else self._backend(backends)
        if backend is None:
            return None
        name = served_by(backend, Path(self.path), self.backend)
        if name in backends.names:
            return backends.named(name)
        return None if name == TENSORFLOW else backend

    def _backend(self, backends: Backends) -> Backend | None:
        """What serves other models than SavedModels; None where the files do not tell."""
        try:
            if self.platform == AUTOMATIC:
                return backends.of_folder(Path(self.path))
            return backends.named(self.platform)
        except (ServingError, OSError):
            return None

    def _has(self, name: str) -> bool:
        return os.path.exists(os.path.join(self.path, name))

    def with_threads(self, threads: int) -> "VersionFolder":
        """The same with so many threads within one run."""
        return replace(
            self,
            tensorflow=replace(self.tensorflow, intra_op_threads=threads),
            backend=replace(self.backend, intra_op_threads=threads),
        )

    def has_threads_of_its_own(self, backends: Backends) -> bool:
        """Whether the number of threads in its runs is a matter of this version alone."""
        if self._is_saved_model():
            return True
        backend = self._running_backend(backends)
        return backend is not None and keeps_own_threads(backend)

    def loads_quietly(self, niceness: int) -> "VersionFolder":
        """The same, loaded with so much less of the cores, where that can be done."""
        return replace(self, tensorflow=replace(self.tensorflow, niceness=niceness))

    def one_at_a_time(self) -> "VersionFolder":
        """The same for a process in which no two runs go on at the same time."""
        return replace(
            self,
            tflite=replace(self.tflite, pools=1, interpreters_per_pool=1),
            backend=replace(self.backend, concurrency=1),
        )


def loader_of(folder: VersionFolder) -> Loader:
    """The same loader, in a process that has not looked for backends yet."""
    return folder.loader(Backends())
