"""A version opened so that every tensor of a run is reported, where its framework allows it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from salver.backends.onnx import BACKEND as ONNX
from salver.backends.registry import Backends
from salver.backends.saved_model_files import SAVED_MODEL_FILES
from salver.core.backend import AUTOMATIC, TENSORFLOW
from salver.core.servable import Loader
from salver.errors import InvalidArgument
from salver.inspection.finding import FoundVersion
from salver.inspection.opening import OpenOptions, backend_options, opened, tensorflow_options
from salver.trial.debug_report import Report, reporter
from salver.trial.onnx_debug import OnnxDebugLoader
from salver.trial.saved_model_debug import SavedModelDebugLoader
from salver.trial.targets import OpenTarget, Target


@contextmanager
def debugged_target(
    version: FoundVersion, options: OpenOptions, backends: Backends, watch: str, stream: TextIO
) -> Iterator[Target]:
    """A version whose runs print what each operation computed; `watch` chooses rows.

    Raises:
        InvalidArgument: `watch` is no regular expression, or the model is of another framework.
        ServingError: it cannot be loaded.
    """
    report = reporter(watch, stream)

    def loader_of(folder: str) -> Loader:
        return _loader(folder, options, backends, report)

    with opened(version, options, backends, loader_of) as model:
        yield OpenTarget(model, options.tags)


def _loader(folder: str, options: OpenOptions, backends: Backends, report: Report) -> Loader:
    platform = _platform(folder, options.platform, backends)
    if platform == TENSORFLOW:
        return SavedModelDebugLoader(folder, tensorflow_options(options), report)
    if platform == ONNX.name:
        return OnnxDebugLoader(folder, backend_options(folder, options), report)
    raise InvalidArgument(
        f"--debug looks into SavedModels and ONNX models; {folder} is a model of {platform}"
    )


def _platform(folder: str, platform: str, backends: Backends) -> str:
    if platform != AUTOMATIC:
        return platform
    if any(os.path.exists(os.path.join(folder, name)) for name in SAVED_MODEL_FILES):
        return TENSORFLOW
    backend = backends.of_folder(Path(folder))
    return backend.name if backend else "no known framework"
