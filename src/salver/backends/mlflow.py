"""Model folders of MLflow: a version folder with an `MLmodel`, or with one folder that has it.

Where a backend here reads the flavor, it does, and MLflow is not needed. Everything else is loaded
by MLflow as a `python_function`, where the operator allows the code of versions, from the package
`mlflow-skinny`: Apache-2.0, for every Python, 120 MB and pandas. Either way, the inputs are
those that the `MLmodel` states.
"""

import logging
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

from salver.backends.allocator import trim_memory
from salver.backends.functions import FunctionServable
from salver.backends.mlflow_file import FILE_NAME, MlflowFile, model_root, read_mlflow_file
from salver.backends.mlflow_flavors import (
    PYTHON_FUNCTION,
    TENSORFLOW,
    Native,
    is_pickled,
    native_model,
)
from salver.backends.mlflow_function import MlflowFunction
from salver.backends.mlflow_signature import in_front
from salver.backends.prerequisites import require_code_allowed, require_pickle_allowed
from salver.backends.registry import Backends
from salver.backends.tensorflow import TensorFlowLoader
from salver.core.backend import BackendOptions
from salver.core.servable import Loader, Servable
from salver.errors import InvalidArgument, NotFound, ServingError, Unimplemented

logger = logging.getLogger(__name__)


class MlflowBackend:
    """See `salver.core.backend.Backend`."""

    name = "mlflow"
    extra = "mlflow"
    wraps = True
    # Of a `python_function`; else it is as the backend says that serves the model.
    holds_interpreter_lock = True

    def lacking(self, names: Collection[str]) -> str | None:
        found = [name for name in names if name == FILE_NAME or name.endswith(f"/{FILE_NAME}")]
        return None if any(name.count("/") < 2 for name in found) else FILE_NAME

    def detects(self, folder: Path) -> bool:
        return model_root(folder) is not None

    def served_by(self, folder: Path, options: BackendOptions) -> str | None:
        try:
            root = model_root(folder)
            if root is None:
                return None
            native = native_model(root, read_mlflow_file(root / FILE_NAME, options).flavors)
        except (ServingError, OSError, ValueError):
            return None
        return None if native is None else native.backend

    def loader(self, folder: str, options: BackendOptions) -> "MlflowLoader":
        return MlflowLoader(folder, options)

    def estimated_bytes(self, folder: Path) -> int:
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


class MlflowLoader:
    """Loads the MLflow model of one version folder."""

    def __init__(self, folder: str, options: BackendOptions) -> None:
        self._folder = Path(folder)
        self._options = options
        self._inner: Loader | None = None
        self._outer: FunctionServable | None = None
        self._linked: tempfile.TemporaryDirectory[str] | None = None

    def load(self) -> Servable:
        """Load by the flavor's own backend, else by MLflow. From a load thread.

        Raises:
            NotFound: there is no `MLmodel`.
            InvalidArgument: it is none of MLflow, or names files that are not the model's.
            PermissionDenied: only code can load it, and that is not allowed.
            ServingError: whatever the backend says.
        """
        try:
            root = model_root(self._folder)
        except OSError as error:
            raise NotFound(f"{self._folder}; {error.strerror}") from error
        if root is None:
            raise NotFound(f"{self._folder / FILE_NAME}; No such file or directory")
        file = read_mlflow_file(root / FILE_NAME, self._options)
        try:
            native = native_model(root, file.flavors)
        except ValueError as error:
            raise InvalidArgument(
                f"Model {self._options.model_name}: {FILE_NAME}: {error}"
            ) from error
        backends = Backends()
        if native is not None and (native.backend in (TENSORFLOW, *backends.names)):
            return self._native(native, file, backends)
        return self._function(root, file)

    def unload(self) -> None:
        """See `Loader.unload`."""
        if self._outer is not None:
            self._outer.close()
            self._outer = None
        if self._inner is not None:
            self._inner.unload()
            self._inner = None
        if self._linked is not None:
            self._linked.cleanup()
            self._linked = None
        trim_memory()

    def _native(self, native: Native, file: MlflowFile, backends: Backends) -> Servable:
        if native.backend == TENSORFLOW:
            self._inner = TensorFlowLoader(str(native.path))
        else:
            folder = self._folder_for(native)
            self._inner = backends.named(native.backend).loader(folder, self._options)
        servable = self._inner.load()
        where = f"Model {self._options.model_name}: {FILE_NAME}"
        if file.parameters:
            names = ", ".join(each.name for each in file.parameters)
            logger.warning(
                "%s: parameters have no effect on a model of %s: %s", where, native.backend, names
            )
        if file.inputs is None:
            return servable
        outer = in_front(servable, file.inputs, self._options.model_name)
        if outer is None:
            logger.warning("%s: its inputs are not those of the model, whose own are served", where)
            return servable
        return outer

    def _folder_for(self, native: Native) -> str:
        """A folder in which the file is called as its backend expects."""
        if native.path.name == native.file_name:
            return str(native.path.parent)
        self._linked = tempfile.TemporaryDirectory(prefix="salver-mlflow-")
        (Path(self._linked.name) / native.file_name).symlink_to(native.path.resolve())
        return self._linked.name

    def _function(self, root: Path, file: MlflowFile) -> Servable:
        options = self._options
        flavors: Mapping[str, object] = file.flavors
        if PYTHON_FUNCTION not in flavors:
            raise Unimplemented(
                f"Model {options.model_name}: no backend here, nor MLflow's own {PYTHON_FUNCTION}, "
                f"reads the flavors {', '.join(flavors)}"
            )
        require_code_allowed(f"a {PYTHON_FUNCTION} of MLflow", options)
        if is_pickled(root, file.flavors):
            require_pickle_allowed(f"the {PYTHON_FUNCTION} of MLflow", options)
        function = MlflowFunction(root, file, options)
        self._outer = FunctionServable(options.model_name, function.functions())
        return self._outer


BACKEND = MlflowBackend()
