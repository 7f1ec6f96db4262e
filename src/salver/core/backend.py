"""Backends: what one framework offers, so that versions of its models can be served.

A backend is found by an entry point of the group `salver.backends`, whose name is the
backend's and whose object is a `Backend`, a module-level `BACKEND` as a rule. The module with it
is light: the framework is imported by `Loader.load`, when a model needs it, and no earlier.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol, runtime_checkable

from salver.core.servable import Loader

ENTRY_POINTS = "salver.backends"
"""The group of entry points."""


TENSORFLOW = "tensorflow"
"""The `model_platform` of SavedModels, which are served without an entry point."""
AUTOMATIC = "auto"
"""The `model_platform` of whichever backend finds its model in the version's folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendOptions:
    """What the operator has said that concerns every framework."""

    model_name: str
    """The model's name in the config, for messages."""
    intra_op_threads: int = 0
    """Threads within one run. 0: the backend chooses; one is best where requests run side by side.
    """
    concurrency: int = 1
    """So many runs go on at the same time, at most: a backend whose models serve one at a time
    may make so many of them."""
    on_cpu: bool = False
    """Whether the model is to compute on the CPU although there may be a GPU."""
    allow_pickle: bool = False
    """Whether pickled objects may be loaded, which runs code that lies in the file."""
    allow_python_code: bool = False
    """Whether Python files that came with a version may be run."""
    trusted_types: frozenset[str] = frozenset()
    """Types that files may hold beside those that are known to be harmless: `module.Class`."""
    jvm_max_heap_mb: int = 512
    """The most that the heap of a Java virtual machine may take, for all models together."""
    h2o_genmodel_jar: str = ""
    """The jar that reads models of H2O. Empty: that of its Python package."""


@runtime_checkable
class Backend(Protocol):
    """One framework. Stateless; from any thread."""

    name: str
    """As in `model_platform` and in the entry point: lower case."""
    extra: str
    """What is to be installed for it: `pip install 'salver[EXTRA]'`. Empty: nothing."""
    wraps: bool
    """Whether its folders may hold files that others take for theirs.

    Where several backends detect a folder, one that wraps is taken before those that do not.
    """

    def lacking(self, names: Collection[str]) -> str | None:
        """What a version with these files lacks to be one of this framework's, None if nothing.

        For versions on remote storage, before they are copied: nothing but the names of the
        files is known, relative to the folder of the version, with `/` between folders.
        """

    def detects(self, folder: Path) -> bool:
        """Whether the folder holds a model of this framework, whole as far as can be told.

        Cheap: names of files, and a few bytes of them. Imports no framework, runs nothing of
        the model. Says nothing about whether the framework is installed.

        Raises:
            OSError: the folder cannot be read.
        """

    def loader(self, folder: str, options: BackendOptions) -> Loader:
        """A loader of the version in a local folder. Cheap; the folder may lack the model yet."""

    def estimated_bytes(self, folder: Path) -> int:
        """What the version will take in memory, roughly. Cheap.

        A load is refused where that is more than there is: when in doubt, say less. 0 is fine.

        Raises:
            OSError: the folder cannot be read.
        """


class Apart(Enum):
    """Why a model is served in processes of its own, unless the operator decides otherwise."""

    NEEDLESS = "it is not"
    HOLDS_LOCK = "its runs keep all other Python code waiting"
    MAY_LOSE_PROCESS = "a run may leave its process unable to go on, as on a GPU"


@runtime_checkable
class LockHolder(Protocol):
    """What a backend may add: whether its runs keep all other Python code waiting."""

    holds_interpreter_lock: bool


@runtime_checkable
class ProcessLoser(Protocol):
    """What a backend may add: that a request may cost the process in which its models run."""

    def may_lose_process(self, options: BackendOptions) -> bool:
        """Whether a run of such a model may end with `salver.errors.ProcessUnusable` here.

        Imports no framework.
        """


@runtime_checkable
class ThreadKeeper(Protocol):
    """What a backend may add: whether `BackendOptions.intra_op_threads` is for each loaded version.

    The server then measures which number suits a version, unless the operator has chosen one.
    """

    keeps_own_threads: bool


@runtime_checkable
class RowWise(Protocol):
    """What a backend may add: whether each row of its answers comes of the same row asked alone.

    So it is with models of tables. They are batched without being told to.
    """

    rows_are_independent: bool


@runtime_checkable
class Delegator(Protocol):
    """What a backend may add whose models are served by other backends as far as they can be."""

    def served_by(self, folder: Path, options: BackendOptions) -> str | None:
        """The name of the backend that serves the model in the folder, as far as the files tell.

        None where that is this one, or where the load is going to fail. Imports no framework.
        """


def served_by(backend: Backend, folder: Path, options: BackendOptions) -> str:
    """The name of the backend that serves the model of the folder; its own, if it does not say."""
    other = backend.served_by(folder, options) if isinstance(backend, Delegator) else None
    return other or backend.name


def apart(backend: Backend, options: BackendOptions) -> Apart:
    """Whether models of this backend need processes of their own; no, if it does not say."""
    if isinstance(backend, LockHolder) and backend.holds_interpreter_lock:
        return Apart.HOLDS_LOCK
    if isinstance(backend, ProcessLoser) and backend.may_lose_process(options):
        return Apart.MAY_LOSE_PROCESS
    return Apart.NEEDLESS


def keeps_own_threads(backend: Backend) -> bool:
    """Whether each version of this backend has threads of its own; no, if it does not say."""
    return isinstance(backend, ThreadKeeper) and backend.keeps_own_threads


def rows_are_independent(backend: Backend) -> bool:
    """Whether each row is answered for itself alone; no, if the backend does not say."""
    return isinstance(backend, RowWise) and backend.rows_are_independent
