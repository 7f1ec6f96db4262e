"""PMML documents, evaluated by PMML4S in a Java virtual machine.

PMML4S and the libraries it needs come in the package `pypmml`: Apache-2.0, 14 MB, for every
Python; of the package only its jars are used. JPMML, the other evaluator, is under the AGPL, which
asks whoever serves with it over a network to offer the source of the whole: hence it is not used.
A model takes three times the size of its file or so.
"""

from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path

from salver.backends.allocator import trim_memory
from salver.backends.functions import FunctionServable
from salver.backends.jvm import Java, java
from salver.backends.pmml_file import PmmlFile
from salver.backends.pmml_model import PmmlModel
from salver.core.backend import BackendOptions
from salver.errors import FailedPrecondition, InvalidArgument

FILE_NAME = "model.pmml"
_BYTES_PER_BYTE = 3


class PmmlBackend:
    """See `salver.core.backend.Backend`."""

    name = "pmml"
    extra = "pmml"
    wraps = False
    rows_are_independent = True

    def lacking(self, names: Collection[str]) -> str | None:
        return None if FILE_NAME in names else FILE_NAME

    def detects(self, folder: Path) -> bool:
        return (folder / FILE_NAME).is_file()

    def loader(self, folder: str, options: BackendOptions) -> "PmmlLoader":
        return PmmlLoader(folder, options)

    def estimated_bytes(self, folder: Path) -> int:
        return (folder / FILE_NAME).stat().st_size * _BYTES_PER_BYTE


class PmmlLoader:
    """Loads the `model.pmml` of one version folder."""

    def __init__(self, folder: str, options: BackendOptions) -> None:
        self._path = Path(folder) / FILE_NAME
        self._options = options
        self._java: Java | None = None
        self._servable: FunctionServable | None = None

    def load(self) -> FunctionServable:
        """Check the document, and have Java read it. From a load thread.

        Raises:
            NotFound: there is no `model.pmml`.
            InvalidArgument: it is damaged, or none.
            Unimplemented: it is of a kind that cannot be served.
            FailedPrecondition: Java or PMML4S is missing.
            ResourceExhausted: it does not fit into the heap.
        """
        name = self._options.model_name
        file = PmmlFile(self._path, f"Model {name}")
        self._java = java(_jars(self._options), self._options, BACKEND.extra)
        class_ = self._java.class_("org.pmml4s.model.Model")
        with self._java.calls(f"{FILE_NAME} cannot be read", InvalidArgument):
            text = file.text()
            found = class_.fromFile(str(self._path)) if text is None else class_.fromString(text)
            model = PmmlModel(self._java, found, f"Model {name}")
            self._servable = FunctionServable(name, model.functions())
        return self._servable

    def unload(self) -> None:
        """See `Loader.unload`."""
        if self._servable is not None:
            self._servable.close()
            self._servable = None
        if self._java is not None:
            self._java.collect_garbage()
            self._java = None
            trim_memory()


def _jars(options: BackendOptions) -> list[Path]:
    spec = find_spec("pypmml")
    if spec is None or spec.origin is None:
        raise FailedPrecondition(
            f"Model {options.model_name} needs pypmml: pip install 'salver[{BACKEND.extra}]'"
        )
    return sorted((Path(spec.origin).parent / "jars").glob("*.jar"))


BACKEND = PmmlBackend()
