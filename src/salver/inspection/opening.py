"""A version opened in this process, as the server would load it, and run without one."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from salver.backends.registry import Backends
from salver.backends.saved_model_files import lacking_inside
from salver.backends.tensorflow import TensorFlowOptions
from salver.backends.tflite import TfLiteOptions
from salver.backends.version_folder import VersionFolder
from salver.core.backend import AUTOMATIC, BackendOptions
from salver.core.nearest import nearest
from salver.core.servable import Loader, Servable
from salver.core.signature import DEFAULT_SIGNATURE, Signature
from salver.errors import InvalidArgument, NotFound
from salver.inspection.finding import FoundVersion
from salver.sources.remote_models import RemoteModels
from salver.sources.uri import scheme_of


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOptions:
    """What the user allows and chooses; as the server's flags of these names."""

    platform: str = AUTOMATIC
    tags: tuple[str, ...] = ("serve",)
    intra_op_threads: int = 1
    concurrency: int = 1
    allow_pickle: bool = False
    allow_python_code: bool = False
    trusted_types: frozenset[str] = frozenset()
    model_cache_dir: str = ""


class OpenModel:
    """A loaded version. From any thread."""

    def __init__(self, version: FoundVersion, servable: Servable, folder: str = "") -> None:
        """`folder` is where its files lie on this machine."""
        self.version = version
        self.servable = servable
        self.folder = folder or version.path

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """Every signature, by name."""
        return self.servable.signatures

    def signature(self, name: str = "") -> Signature:
        """The signature of this name; without one, the default one, or the only one.

        Raises:
            NotFound: the model has no such signature; the message has the nearest name.
        """
        signatures = self.signatures
        if not name and DEFAULT_SIGNATURE not in signatures and len(signatures) == 1:
            return next(iter(signatures.values()))
        wanted = name or DEFAULT_SIGNATURE
        found = signatures.get(wanted)
        if found is None:
            raise NotFound(
                f"{self.version.path} has no signature {wanted!r}{nearest(wanted, signatures)}"
            )
        return found

    def run(
        self,
        inputs: Mapping[str, np.ndarray],
        signature: str = "",
        outputs: Collection[str] = (),
    ) -> dict[str, np.ndarray]:
        """Run one signature; all its outputs, or those of `outputs`, by name.

        Raises:
            NotFound: there is no such signature.
            InvalidArgument: an input is missing or unknown, or an output is.
            ServingError: from the framework.
        """
        chosen = self.signature(signature)
        where = f"signature {chosen.name!r} of {self.version.path}"
        given = {**chosen.defaults, **inputs}
        for name in given:
            if name not in chosen.inputs:
                raise InvalidArgument(
                    f"{where} has no input {name!r}{nearest(name, chosen.inputs)}"
                )
        missing = [name for name in chosen.inputs if name not in given]
        if missing:
            raise InvalidArgument(f"{where} needs the inputs {', '.join(missing)}, too")
        for name in outputs:
            if name not in chosen.outputs:
                known = nearest(name, chosen.outputs)
                raise InvalidArgument(f"{where} has no output {name!r}{known}")
        names = list(outputs or chosen.outputs)
        program = self.servable.program(
            tuple(spec.name for spec in chosen.inputs.values()),
            tuple(chosen.outputs[name].name for name in names),
        )
        results = program.run([given[name] for name in chosen.inputs])
        return dict(zip(names, results, strict=True))


@contextmanager
def opened(
    version: FoundVersion,
    options: OpenOptions,
    backends: Backends,
    loader_of: Callable[[str], Loader] | None = None,
) -> Iterator[OpenModel]:
    """Load a version, from a local copy if it lies on remote storage, and unload it at the end.

    `loader_of` takes the place of the loader that the server would make for the local folder.

    Raises:
        ServingError: it cannot be loaded; code and message tell why.
    """
    folder = version.path
    make = loader_of or (lambda local_folder: _loader(local_folder, options, backends))

    def loader_in(local_folder: str) -> Loader:
        nonlocal folder
        folder = local_folder
        return make(local_folder)

    if scheme_of(version.path):
        remote = RemoteModels(options.model_cache_dir, backends.lacking, lacking_inside)
        loader: Loader = remote.loader(version.path, loader_in)
    else:
        loader = loader_in(version.path)
    servable = loader.load()
    try:
        yield OpenModel(version, servable, folder)
    finally:
        loader.unload()


def _loader(folder: str, options: OpenOptions, backends: Backends) -> Loader:
    return VersionFolder(
        path=folder,
        platform=options.platform,
        tensorflow=tensorflow_options(options),
        tflite=TfLiteOptions(pools=1, interpreters_per_pool=options.concurrency),
        prefers_tflite=False,
        backend=backend_options(folder, options),
    ).loader(backends)


def tensorflow_options(options: OpenOptions) -> TensorFlowOptions:
    """What of the options concerns SavedModels."""
    return TensorFlowOptions(tags=options.tags, intra_op_threads=options.intra_op_threads)


def backend_options(folder: str, options: OpenOptions) -> BackendOptions:
    """What of the options concerns all other frameworks."""
    return BackendOptions(
        model_name=folder,
        intra_op_threads=options.intra_op_threads,
        concurrency=options.concurrency,
        allow_pickle=options.allow_pickle,
        allow_python_code=options.allow_python_code,
        trusted_types=options.trusted_types,
    )


def loader_of_folder(folder: str, options: OpenOptions) -> Loader:
    """The loader of the model in a local folder, in a process that has not looked for backends yet.

    A function of plain values, so that it can be sent to a worker process.
    """
    return _loader(folder, options, Backends())
