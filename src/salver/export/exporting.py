"""From a model to a version under a base path."""

import errno
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from salver.core.signature import DEFAULT_SIGNATURE
from salver.errors import FailedPrecondition, InvalidArgument
from salver.export.exported import Exported
from salver.export.loading import try_version
from salver.export.model_files import file_writer_of
from salver.export.publishing import check_version, publish, unfinished_folder
from salver.export.signatures import Predict, SignatureRequest
from salver.export.tensorflow_models import runs_on_tensorflow, write_saved_model
from salver.export.warm_up_file import Features, WarmUps, write_warm_up
from salver.sources.storage import local_path
from salver.sources.uri import redacted, scheme_of
from salver.sources.version_name import version_of

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
"""What goes wrong with a disk that is full, or broken."""
Signatures = SignatureRequest | Mapping[str, SignatureRequest] | None


def export_model(
    model: Any,
    base_path: str | os.PathLike[str],
    *,
    version: int | None = None,
    signatures: Signatures = None,
    warm_up: WarmUps = (),
    save_options: Any = None,
    verbose: bool = True,
) -> Exported:
    """Save a model as a new version that a server can pick up.

    The version is written beside the others under a name that no server takes for a version,
    loaded as a server would load it, its warm-up requests are played, and it is renamed to
    `base_path/<version>`. Whatever goes wrong before, nothing is left behind.

    Args:
        model: a Keras model, a `tf.Module`, a `tf.function` or a Python function of tensors; or a
            `torch.export.ExportedProgram`, a TorchScript module, a fitted estimator of
            scikit-learn, XGBoost, LightGBM or CatBoost, which are written in their own formats.
        base_path: the folder of the model, which is made where it is missing.
        version: a whole number, higher than those that are there. None: the time in seconds
            since 1970, or one more than the highest that is there.
        signatures: what the model can be asked: a `Predict`, `Classify` or `Regress`, or several
            by name. The first is also `serving_default`, unless there is one of this name.
            None: predict, with the inputs and outputs of the model. For TensorFlow and Keras only.
        warm_up: requests that a server plays before the version becomes available: arrays by name
            of the input, lists of Examples, or `WarmUp`s.
        save_options: a `tf.saved_model.SaveOptions`.
        verbose: whether to print what was exported.

    Raises:
        InvalidArgument: a signature, a warm-up request, the version or the model is wrong.
        AlreadyExists: there is such a version, or a higher one; it is never overwritten.
        FailedPrecondition: a framework is not installed, or the folder cannot be written.
        ServingError: what was written cannot be loaded.
    """
    folder = _local_folder(os.fspath(base_path))
    check_version(version, os.listdir(folder) if folder.is_dir() else (), str(folder))
    writer = _writer(model, _by_name(signatures), save_options)
    with unfinished_folder(folder) as unfinished:
        features = _written(writer, unfinished)
        trial = try_version(
            unfinished,
            folder.name,
            lambda found: write_warm_up(unfinished, folder.name, warm_up, found, features),
        )
        size = sum(path.stat().st_size for path in unfinished.rglob("*") if path.is_file())
        published = publish(unfinished, folder, version, time.time())
    exported = Exported(
        path=str(published),
        version=int(published.name),
        signatures=trial.signatures,
        size=size,
        warm_up_requests=len(warm_up),
        caution=trial.caution,
    )
    if verbose:
        print(exported)
    return exported


def _written(writer: Callable[[Path], Features], folder: Path) -> Features:
    try:
        return writer(folder)
    except OSError as error:
        # Others may come from code of the model, which tells more of them than we could.
        if error.errno in _DISK:
            raise FailedPrecondition(f"{folder.parent}: {error.strerror}") from error
        raise


def _local_folder(base_path: str) -> Path:
    if scheme_of(base_path):
        raise InvalidArgument(
            f"{redacted(base_path)} is on remote storage: export to a folder of this machine, and "
            "bring the version there with `salver push`, which publishes it whole"
        )
    folder = Path(local_path(base_path)).absolute()
    if folder.exists() and not folder.is_dir():
        raise InvalidArgument(f"{folder} is a file; a base path is a folder")
    if version_of(folder.name) is not None:
        raise InvalidArgument(
            f"{folder} is named like a version; give the base path, the folder above"
        )
    return folder


def _by_name(signatures: Signatures) -> Mapping[str, SignatureRequest] | None:
    if signatures is None or isinstance(signatures, Mapping):
        return signatures
    return {DEFAULT_SIGNATURE: signatures}


def _writer(
    model: Any, requests: Mapping[str, SignatureRequest] | None, options: Any
) -> Callable[[Path], Features]:
    """What writes the model into a folder, and tells which features its signatures read."""
    if not runs_on_tensorflow(model):
        write = file_writer_of(model)
        if write is not None:
            if requests is not None or options is not None:
                raise InvalidArgument(
                    f"{type(model).__name__}: signatures and save_options are for models of "
                    "TensorFlow and Keras; those of other models are what their files say"
                )

            def write_files(folder: Path) -> Features:
                write(model, folder)
                return {}

            return write_files
        if not callable(model):
            raise InvalidArgument(
                f"{type(model).__name__} is no model that can be exported: give a Keras model, a "
                "tf.Module, a function of tensors, a torch.export.ExportedProgram, or a fitted "
                "estimator of scikit-learn, XGBoost, LightGBM or CatBoost"
            )
    chosen = {DEFAULT_SIGNATURE: Predict()} if requests is None else requests
    return lambda folder: {
        each.name: each.features
        for each in write_saved_model(model, chosen, folder, options)
        if each.features is not None
    }
