"""A version loaded before it is published, as a server would load it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from salver.backends.registry import Backends
from salver.backends.tensorflow import TensorFlowOptions
from salver.backends.tflite import TfLiteOptions
from salver.backends.version_folder import VersionFolder
from salver.core.backend import AUTOMATIC, BackendOptions
from salver.core.servable import ServableId
from salver.core.signature import Signature
from salver.errors import PermissionDenied, ServingError, error_of
from salver.execution.prepared import PreparedServable, PreparingLoader
from salver.transport.warm_up import WarmUp


@dataclass(frozen=True, slots=True)
class Trial:
    """What the load told."""

    signatures: Mapping[str, Signature] = field(default_factory=dict)
    caution: str = ""
    """What the operator of a server has to allow."""


def try_version(
    folder: Path, name: str, write_warm_up: Callable[[Mapping[str, Signature]], None]
) -> Trial:
    """Load the model in a folder, write its warm-up requests, and play them.

    Raises:
        ServingError: it cannot be loaded, or a request fails.
    """
    # No Python code, no pickles: what a server asks its operator for is not decided here.
    version = VersionFolder(
        path=str(folder),
        platform=AUTOMATIC,
        tensorflow=TensorFlowOptions(),
        tflite=TfLiteOptions(),
        prefers_tflite=False,
        backend=BackendOptions(model_name=name),
    )
    id_ = ServableId(name, 0)

    def warm_up(servable: PreparedServable) -> None:
        write_warm_up(_signatures(servable))
        try:
            WarmUp(1, True, lambda report: None).play(servable, id_, str(folder))
        except ServingError as error:
            told = " ".join(error.message.split())
            raise error_of(error.code, f"a warm-up request fails: {told}") from error

    loader = PreparingLoader(version.loader(Backends()), warm_up)
    try:
        servable = loader.load()
    except PermissionDenied as error:
        return Trial(caution=error.message)
    found = _signatures(servable)
    loader.unload()
    return Trial(found)


def _signatures(servable: PreparedServable) -> dict[str, Signature]:
    """Those that can be asked: TensorFlow keeps others, which begin with two underscores."""
    return {
        name: each.signature
        for name, each in servable.signatures.items()
        if not name.startswith("__")
    }
