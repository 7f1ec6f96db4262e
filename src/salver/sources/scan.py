"""One look at one model's base path: which versions should be served now.

Runs on a scan thread, and depends on nothing but its arguments and the file
system. Problems are logged, worded as operators of TensorFlow Serving know them,
and change nothing of what is served.

A version that is still being copied is held back while others can be served, so
that it is never loaded by halves. Where there is no other, it is aspired all the
same, for its error to be seen, and tried again once it is complete.

Where storage cannot be asked, and has not answered since the model is there, what was kept of it
stands in.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice

from salver.core.version_policy import (
    All,
    Latest,
    Specific,
    VersionPolicy,
    chosen_versions,
    missing_versions,
)
from salver.errors import NotFound, ServingError, Unavailable
from salver.sources.scan_lines import ScanLines
from salver.sources.storage import Folder, Storage
from salver.sources.uri import redacted, scheme_of
from salver.sources.version_name import versions_by_number

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where the versions of one model are, and which of them to serve."""

    name: str
    base_path: str
    policy: VersionPolicy = field(default_factory=Latest)


@dataclass(frozen=True, slots=True)
class Memory:
    """What one look at a model leaves for the next. Sets of version paths."""

    complete: frozenset[str] = frozenset()
    """Seen complete and still there; not examined again, as contents do not change."""
    premature: frozenset[str] = frozenset()
    """Aspired although incomplete, or without having been looked at."""
    held_back: frozenset[str] = frozenset()
    """Present, but not aspired until complete."""
    served: bool = False
    """Whether the model has had a complete version since it last had none at all."""
    answered: bool = False
    """Whether the base path could ever be looked at."""
    failed: bool = False
    """Whether the base path could not be looked at."""
    said: frozenset[str] = frozenset()
    """What was wrong, as it was logged."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one look."""

    memory: Memory
    paths: Mapping[int, str] | None = None
    """The versions to aspire, highest first; None stands for leaving all as it is."""
    renewed: frozenset[int] = frozenset()
    """Those among them that were aspired before they were complete."""


def look(model: ModelSource, memory: Memory, storage: Storage) -> Finding:
    """Decide what to serve of a model. Never raises."""
    lines = ScanLines(memory.said if scheme_of(model.base_path) else None)
    try:
        folder = storage.folder(model.base_path)
        finding = _choose(model, folder, _present_versions(model, folder, lines), memory, lines)
    except Exception as error:  # noqa: BLE001 - one model's trouble is told and concerns no other
        _tell(error, model, lines)
        if memory.answered or not _is_outage(error):
            return Finding(replace(memory, failed=True, said=lines.saying))
        return _choose_kept(model, memory, storage, lines)
    if memory.failed:
        _logger.info("Base path %s of servable %s can be read again", shown(model), model.name)
    return replace(finding, memory=replace(finding.memory, answered=True, said=lines.saying))


def look_at_kept(model: ModelSource, memory: Memory, storage: Storage) -> Finding:
    """Decide what to serve of a model whose storage does not answer. Never raises."""
    return _choose_kept(model, memory, storage, ScanLines(memory.said))


def shown(model: ModelSource) -> str:
    """The base path as it may be logged."""
    return redacted(model.base_path)


def _tell(error: Exception, model: ModelSource, lines: ScanLines) -> None:
    if isinstance(error, ServingError):
        problem = error.message
    elif isinstance(error, OSError):
        problem = f"{error.filename or shown(model)}; {error.strerror or error}"
    else:
        _logger.error("Looking for versions of servable %s failed", model.name, exc_info=error)
        return
    lines.error("FileSystemStoragePathSource encountered a filesystem access error: %s", problem)


def _is_outage(error: Exception) -> bool:
    """Whether storage cannot be asked; whom it refuses an answer shall not have one from here."""
    return isinstance(error, Unavailable) or isinstance(error.__cause__, Unavailable)


def _choose_kept(model: ModelSource, memory: Memory, storage: Storage, lines: ScanLines) -> Finding:
    paths: dict[int, str] = {}
    try:
        folder = storage.kept(model.base_path)
        if folder is not None:
            names = _present_versions(model, folder, lines)
            paths = {v: folder.path(names[v]) for v in chosen_versions(model.policy, names)}
    except Exception as error:  # noqa: BLE001 - as in `look`
        _tell(error, model, lines)
    if not paths:
        return Finding(replace(memory, failed=True, said=lines.saying))
    lines.warning(
        "Base path %s of servable %s has not answered since the start: until it does, what the "
        "local cache has of it is served, version %s",
        shown(model),
        model.name,
        ", ".join(map(str, paths)),
    )
    # What cannot be loaded from its copy is tried again when the storage answers.
    premature = frozenset(paths.values())
    return Finding(Memory(premature=premature, served=True, failed=True, said=lines.saying), paths)


def _present_versions(model: ModelSource, folder: Folder, lines: ScanLines) -> dict[int, str]:
    """The name of each version that is there, or of each listed one if all of those are."""
    policy = model.policy
    _require(model, folder)
    if isinstance(policy, Specific):
        if not policy.versions:
            lines.warning("No specific versions requested for servable %s.", model.name)
            return {}
        listed = {version: str(version) for version in policy.versions}
        if all(folder.has(name) for name in listed.values()):
            return listed
    found, duplicates = versions_by_number(folder.names())
    for duplicate in duplicates:
        lines.warning(
            "Duplicate version directories detected. Version %d will be loaded from %s, "
            "%s will be ignored.",
            duplicate.version,
            duplicate.used,
            duplicate.ignored,
        )
    for version in missing_versions(policy, found):
        lines.warning(
            "Version %d of servable %s, which was requested to be served as a 'specific' version "
            "in the servable's version policy, was not found in the file system",
            version,
            model.name,
        )
    return found


def _require(model: ModelSource, folder: Folder) -> None:
    """Tell a base path that is missing, or cannot be asked for, from one that is empty."""
    try:
        if not folder.exists():
            raise NotFound(f"{shown(model)} not found")
    except ServingError as error:
        raise NotFound(
            f"Could not find base path {shown(model)} for servable {model.name} "
            f"with error {error.status}"
        ) from error


def _choose(
    model: ModelSource,
    folder: Folder,
    names: Mapping[int, str],
    memory: Memory,
    lines: ScanLines,
) -> Finding:
    wanted = chosen_versions(model.policy, names)
    if not wanted:
        lines.warning(
            "No versions of servable %s found under base path %s. "
            "Did you forget to name your leaf directory as a number (eg. '/1/')?",
            model.name,
            shown(model),
        )
        return Finding(Memory(), {})
    present = {version: folder.path(name) for version, name in names.items()}
    examined: dict[int, bool] = {}

    def ready(version: int) -> bool:
        seen = present[version] in memory.complete
        examined[version] = folder.is_complete(names[version], seen)
        return examined[version]

    chosen = _first_ready(model.policy, present, ready)
    incomplete = frozenset(present[version] for version, done in examined.items() if not done)
    complete = memory.complete.intersection(present.values()) - incomplete
    complete |= {present[version] for version, done in examined.items() if done}
    if chosen or memory.served:
        for path in sorted(incomplete - memory.held_back):
            _logger.warning(
                "Servable %s: %s is not complete yet and held back", model.name, redacted(path)
            )
        # What was taken for complete and is not may be aspired.
        doubtful = memory.premature | (memory.complete & incomplete)
        if not chosen:
            return Finding(Memory(complete, doubtful, incomplete, served=True))
        renewed = frozenset(v for v in chosen if present[v] in doubtful)
        later = Memory(complete, held_back=incomplete, served=True)
        return Finding(later, {version: present[version] for version in chosen}, renewed)
    paths = {version: present[version] for version in wanted}
    return Finding(Memory(complete, frozenset(paths.values())), paths)


def _first_ready(
    policy: VersionPolicy, present: Iterable[int], ready: Callable[[int], bool]
) -> tuple[int, ...]:
    """As `chosen_versions` of those that are ready, asking of no more than need be."""
    if not isinstance(policy, Latest):
        return tuple(filter(ready, chosen_versions(policy, present)))
    return tuple(islice(filter(ready, chosen_versions(All(), present)), max(policy.count, 1)))
