"""Python files that came with a version, imported so that versions do not meet.

Each version folder becomes a package with a name of its own: two versions of one file live side
by side, `from . import features` finds the file beside, and all of it goes when the version goes.
No byte code is read or written: the folder may be read-only, or have been replaced by another.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import FileFinder, ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from itertools import count
from pathlib import Path
from types import CodeType, ModuleType

from salver.errors import FailedPrecondition, ServingError

_PREFIX = "salver_version_"
_numbers = count(1)


class VersionCode:
    """The package of one version folder. From a load thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._package = f"{_PREFIX}{next(_numbers)}"

    def module(self, file_name: str, where: str) -> ModuleType:
        """Import a file of the folder; `where` begins the message of an error.

        Raises:
            FailedPrecondition: it cannot be imported.
        """
        _put_finder()
        if self._package not in sys.modules:
            package = ModuleType(self._package)
            package.__path__ = [str(self._folder)]
            sys.modules[self._package] = package
        name = f"{self._package}.{Path(file_name).stem}"
        path = str(self._folder / file_name)
        spec = spec_from_file_location(name, path, loader=_SourceLoader(name, path))
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except ServingError:
            raise
        except Exception as error:
            raise FailedPrecondition(
                f"{where}: {file_name} cannot be imported: {told(error, self._folder)}"
            ) from error
        return module

    def forget(self) -> None:
        """Take all modules of the version out of the interpreter, and what they hold of them."""
        for name in list(sys.modules):
            if name == self._package or name.startswith(f"{self._package}."):
                # Functions refer to their module and back, and the collector does not look at
                # what was loaded: it would stay for ever.
                vars(sys.modules.pop(name)).clear()


def told(error: BaseException, folder: Path) -> str:
    """An error in code of a version, with the last line of that code that it went through."""
    place = ""
    traceback = error.__traceback__
    while traceback is not None:
        path = Path(traceback.tb_frame.f_code.co_filename)
        if path.is_relative_to(folder):
            place = f" ({path.relative_to(folder)}, line {traceback.tb_lineno})"
        traceback = traceback.tb_next
    return f"{type(error).__name__}: {error}{place}"


class _SourceLoader(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


class _VersionFinder(MetaPathFinder):
    """Finds what the code of a version imports from its own folder."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(_PREFIX) or path is None:
            return None
        for folder in path:
            spec = FileFinder(folder, (_SourceLoader, [".py"])).find_spec(fullname)
            if spec is not None:
                return spec
        return None


_FINDER = _VersionFinder()


def _put_finder() -> None:
    if _FINDER not in sys.meta_path:
        # Before the usual one, which would read and write byte code.
        sys.meta_path.insert(0, _FINDER)
