"""A version described: a SavedModel from its files alone, any other model by loading it."""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from salver.backends.registry import Backends
from salver.codecs.messages import WireMessage, message_class
from salver.codecs.tf_record import read_records
from salver.core.backend import AUTOMATIC, TENSORFLOW
from salver.errors import ServingError
from salver.inspection.description import Description, File, WarmUpRequests
from salver.inspection.finding import FoundVersion, told
from salver.inspection.numbers_held import constants_of, parameters_of
from salver.inspection.saved_model import (
    BINARY,
    TEXT,
    operations_used,
    read_saved_model,
    served_graph,
    tag_set,
)
from salver.inspection.version_files import VersionFiles, files_of
from salver.scanning.scan import scan
from salver.sources.uri import redacted

if TYPE_CHECKING:
    from salver.inspection.opening import OpenOptions

PIPELINE = "pipeline.py"
_OLD_ASSETS = "saved_model_assets"
_WARM_UP = "assets.extra/tf_serving_warmup_requests"


def is_saved_model(names: set[str], platform: str = AUTOMATIC) -> bool:
    """Whether a version with these files is taken for a SavedModel."""
    return platform in (AUTOMATIC, TENSORFLOW) and (BINARY in names or TEXT in names)


def reads(name: str) -> bool:
    """Whether this file of a SavedModel is read to describe it."""
    return name in (BINARY, TEXT, _WARM_UP)


def saved_model_description(
    version: FoundVersion, found: VersionFiles, saved_model: WireMessage
) -> Description:
    """All that the files of a SavedModel say; of several graphs, the one that is served."""
    graphs = saved_model.meta_graphs
    description = Description(
        path=redacted(version.path),
        number=version.number,
        backend=TENSORFLOW,
        files=found.files,
        tag_sets=[tag_set(each) for each in graphs],
        warm_up=_warm_up(found),
        findings=scan(Path(found.folder)).findings,
        pipeline=PIPELINE in found.names,
    )
    if not graphs:
        return replace(description, error="it holds no graph")
    served = served_graph(saved_model, description.path)
    made_by = served.meta_info_def.tensorflow_version
    return replace(
        description,
        written_by=f"TensorFlow {made_by}" if made_by else "",
        signatures=dict(served.signature_def),
        operations=operations_used(served.graph_def),
        parameters=parameters_of(served),
        constants=constants_of(served.graph_def),
        assets=_assets(served, found),
    )


@dataclass(frozen=True, slots=True)
class Look:
    """A version, and its SavedModel if it is one."""

    description: Description
    saved_model: WireMessage | None = None


def looked_at(version: FoundVersion, options: "OpenOptions", backends: Backends) -> Look:
    """Everything that is to be told about a version.

    Raises:
        ServingError: its files cannot be read.
    """
    platform = options.platform
    with files_of(version, reads, lambda names: is_saved_model(names, platform)) as found:
        if is_saved_model(found.names, platform):
            saved_model = read_saved_model(found.folder)
            return Look(saved_model_description(version, found, saved_model), saved_model)
        return Look(_loaded_description(version, found, options, backends))


def described(version: FoundVersion, options: "OpenOptions", backends: Backends) -> Description:
    """The description of `looked_at`.

    Raises:
        ServingError: its files cannot be read.
    """
    return looked_at(version, options, backends).description


def _loaded_description(
    version: FoundVersion, found: VersionFiles, options: "OpenOptions", backends: Backends
) -> Description:
    # It imports what loads models.
    from salver.inspection.opening import opened
    from salver.inspection.written_by import written_by

    description = Description(
        path=redacted(version.path),
        number=version.number,
        backend="",
        files=found.files,
        warm_up=_warm_up(found),
        pipeline=PIPELINE in found.names,
    )
    try:
        with opened(version, options, backends) as model:
            backend = _backend_name(model.folder, options, backends)
            definitions = message_class("tensorflow.serving.SignatureDefMap")()
            definitions.ParseFromString(model.servable.signature_def_map)
            return replace(
                description,
                backend=backend,
                written_by=written_by(model.folder, backend),
                signatures=dict(definitions.signature_def),
                findings=scan(Path(model.folder)).findings,
            )
    except ServingError as error:
        folder = found.folder
        backend = _backend_name(folder, options, backends)
        return replace(
            description,
            backend=backend,
            written_by=written_by(folder, backend),
            findings=scan(Path(folder)).findings,
            error=redacted(told(error), version.path),
        )


def _backend_name(folder: str, options: "OpenOptions", backends: Backends) -> str:
    if options.platform != AUTOMATIC:
        return options.platform
    try:
        backend = backends.of_folder(Path(folder))
    except (ServingError, OSError):
        return ""
    return backend.name if backend else ""


def _assets(meta_graph: WireMessage, found: VersionFiles) -> list[File]:
    sizes = {file.name: file.size for file in found.files}
    names = sorted({asset.filename for asset in _asset_definitions(meta_graph)})
    return [File(name, sizes.get(f"assets/{name}")) for name in names]


def _asset_definitions(meta_graph: WireMessage) -> Iterable[WireMessage]:
    """Those of the graph; where it has none, TensorFlow takes those that version 1 collected."""
    if meta_graph.asset_file_def or _OLD_ASSETS not in meta_graph.collection_def:
        yield from meta_graph.asset_file_def
        return
    for packed in meta_graph.collection_def[_OLD_ASSETS].any_list.value:
        definition = message_class("tensorflow.AssetFileDef")()
        with suppress(DecodeError):
            definition.ParseFromString(packed.value)
        yield definition


def _warm_up(found: VersionFiles) -> WarmUpRequests | None:
    path = os.path.join(found.folder, _WARM_UP)
    if not os.path.exists(path):
        return None
    kinds: dict[str, int] = {}
    try:
        with open(path, "rb") as file:
            for record in read_records(file):
                log = message_class("salver.SerializedPredictionLog")()
                log.ParseFromString(record)
                kind = (log.WhichOneof("log_type") or "unknown").removesuffix("_log")
                kinds[kind] = kinds.get(kind, 0) + 1
    except (ServingError, DecodeError, OSError) as error:
        return WarmUpRequests(kinds, str(error))
    return WarmUpRequests(kinds)
