"""MOJO files of H2O, read by H2O's own `h2o-genmodel.jar` in a Java virtual machine.

The jar is part of the package `h2o`: Apache-2.0, for every Python, but 270 MB, for all of H2O is
in it. H2O also hands the jar out by itself (5 MB), beside each MOJO that is downloaded with
`get_genmodel_jar=True`; `--h2o_genmodel_jar` takes it, and the package is not needed. A jar in a
version folder is never used, for it is code.
"""

from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path

from salver.backends.allocator import trim_memory
from salver.backends.functions import FunctionServable
from salver.backends.jvm import Java, java
from salver.backends.mojo_file import ENDING, may_be_mojo, mojo_in, require_whole
from salver.backends.mojo_model import MojoModel
from salver.core.backend import BackendOptions
from salver.errors import FailedPrecondition, InvalidArgument, NotFound

_MIB = 1 << 20
_BYTES_PER_BYTE = 8


class MojoBackend:
    """See `salver.core.backend.Backend`."""

    name = "mojo"
    extra = "mojo"
    wraps = False
    rows_are_independent = True

    def lacking(self, names: Collection[str]) -> str | None:
        archives = [name for name in names if name.endswith(ENDING) and "/" not in name]
        return None if len(archives) == 1 else f"model{ENDING}"

    def detects(self, folder: Path) -> bool:
        path = mojo_in(folder)
        return path is not None and may_be_mojo(path)

    def loader(self, folder: str, options: BackendOptions) -> "MojoLoader":
        return MojoLoader(folder, options)

    def estimated_bytes(self, folder: Path) -> int:
        path = mojo_in(folder)
        return path.stat().st_size * _BYTES_PER_BYTE if path is not None else 0


class MojoLoader:
    """Loads the one archive of a version folder."""

    def __init__(self, folder: str, options: BackendOptions) -> None:
        self._folder = Path(folder)
        self._options = options
        self._java: Java | None = None
        self._servable: FunctionServable | None = None

    def load(self) -> FunctionServable:
        """Check the archive, and have Java read it. From a load thread.

        Raises:
            NotFound: there is no archive.
            InvalidArgument: it is damaged, or none.
            Unimplemented: it is of a kind that cannot be served.
            FailedPrecondition: Java or the jar is missing.
            ResourceExhausted: it does not fit into the heap.
        """
        name = self._options.model_name
        path = self._path()
        where = f"Model {name}"
        require_whole(path, where, self._options.jvm_max_heap_mb * _MIB)
        self._java = java([_jar(self._options)], self._options, BACKEND.extra)
        class_ = self._java.class_("hex.genmodel.MojoModel")
        with self._java.calls(f"{path.name} cannot be read", InvalidArgument):
            model = MojoModel(self._java, class_.load(str(path)), where)
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

    def _path(self) -> Path:
        try:
            path = mojo_in(self._folder)
        except OSError as error:
            raise NotFound(f"{self._folder}; {error.strerror}") from error
        if path is None:
            raise NotFound(f"{self._folder} does not have one file *{ENDING}")
        return path


def _jar(options: BackendOptions) -> Path:
    where = f"Model {options.model_name}"
    if options.h2o_genmodel_jar:
        jar = Path(options.h2o_genmodel_jar)
        if not jar.is_file():
            raise FailedPrecondition(f"{where}: --h2o_genmodel_jar: there is no file {jar}")
        return jar
    spec = find_spec("h2o")
    if spec is None or spec.origin is None:
        raise FailedPrecondition(
            f"{where} needs h2o-genmodel.jar: pip install 'salver[{BACKEND.extra}]', or name it "
            "with --h2o_genmodel_jar"
        )
    return Path(spec.origin).parent / "backend" / "bin" / "h2o.jar"


BACKEND = MojoBackend()
