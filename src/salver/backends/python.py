"""Python code as a model: a version folder with a `model.py`.

To load it is to run it, in the server and with its rights. It is therefore loaded only where the
operator allows code that comes with versions.
"""

import logging
from collections.abc import Collection
from pathlib import Path

from salver.backends.allocator import trim_memory
from salver.backends.functions import FunctionServable
from salver.backends.package_requirements import require_packages
from salver.backends.prerequisites import require_code_allowed
from salver.backends.python_model import PythonModel
from salver.backends.version_code import VersionCode
from salver.core.backend import BackendOptions
from salver.errors import NotFound

logger = logging.getLogger(__name__)

FILE_NAME = "model.py"
_MLFLOW = "MLmodel"


class PythonBackend:
    """See `salver.core.backend.Backend`."""

    name = "python"
    extra = "python"
    wraps = True
    holds_interpreter_lock = True

    def lacking(self, names: Collection[str]) -> str | None:
        return None if FILE_NAME in names and _MLFLOW not in names else FILE_NAME

    def detects(self, folder: Path) -> bool:
        # MLflow keeps the code of its models under the same name.
        return (folder / FILE_NAME).is_file() and not (folder / _MLFLOW).exists()

    def loader(self, folder: str, options: BackendOptions) -> "PythonLoader":
        return PythonLoader(folder, options)

    def estimated_bytes(self, folder: Path) -> int:
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


class PythonLoader:
    """Loads the `model.py` of one version folder."""

    def __init__(self, folder: str, options: BackendOptions) -> None:
        self._folder = Path(folder)
        self._options = options
        self._code: VersionCode | None = None
        self._model: PythonModel | None = None
        self._servable: FunctionServable | None = None

    def load(self) -> FunctionServable:
        """Run the file and have its class load. From a load thread.

        Raises:
            NotFound: there is no `model.py`.
            PermissionDenied: code of versions is not allowed.
            FailedPrecondition: a requirement is not met, or the code is wrong.
        """
        if not (self._folder / FILE_NAME).is_file():
            raise NotFound(f"{self._folder / FILE_NAME}; No such file or directory")
        require_code_allowed(FILE_NAME, self._options)
        require_packages(self._folder, self._options)
        self._code = VersionCode(self._folder)
        name = self._options.model_name
        try:
            module = self._code.module(FILE_NAME, f"Model {name}")
            self._model = PythonModel(module, self._folder, name)
        except BaseException:
            self.unload()
            raise
        self._servable = self._model.servable(name)
        return self._servable

    def unload(self) -> None:
        """See `Loader.unload`; a method `unload` of the class is called."""
        if self._servable is not None:
            self._servable.close()
            self._servable = None
        if self._model is not None:
            self._model.unload()
            self._model = None
        if self._code is not None:
            self._code.forget()
            self._code = None
        trim_memory()


BACKEND = PythonBackend()
