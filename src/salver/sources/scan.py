"""One look at one model's base path: which versions should be served now.

Runs on a scan thread, and depends on nothing but its arguments and the file
system. Problems are logged, worded as operators of TensorFlow Serving know them,
and change nothing of what is served.

A version that is still being copied is held back while others can be served, so
that it is never loaded by halves. Where there is no other, it is aspired all the
same, for its error to be seen, and tried again once it is complete.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice

from salver.core.version_policy import (
    All,
    Latest,
    Specific,
    VersionPolicy,
    chosen_versions,
    missing_versions,
)
from salver.errors import NotFound, ServingError
from salver.sources.storage import Storage
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
    """Aspired although incomplete."""
    held_back: frozenset[str] = frozenset()
    """Present, but not aspired until complete."""
    served: bool = False
    """Whether the model has had a complete version since it last had none at all."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one look."""

    memory: Memory
    paths: Mapping[int, str] | None = None
    """The versions to aspire, highest first; None stands for leaving all as it is."""
    renewed: frozenset[int] = frozenset()
    """Those among them that were aspired before they were complete."""


def look(
    model: ModelSource, memory: Memory, storage: Storage, is_complete: Callable[[str], bool]
) -> Finding:
    """Decide what to serve of a model. Never raises."""
    try:
        present = _present_versions(model, storage)
        return _choose(model, present, memory, is_complete)
    except (OSError, ServingError) as error:
        problem = error.message if isinstance(error, ServingError) else _described(model, error)
        _logger.error(
            "FileSystemStoragePathSource encountered a filesystem access error: %s", problem
        )
    except Exception:
        _logger.exception("Looking for versions of servable %s failed", model.name)
    return Finding(memory)


def _described(model: ModelSource, error: OSError) -> str:
    return f"{error.filename or model.base_path}; {error.strerror or error}"


def _present_versions(model: ModelSource, storage: Storage) -> dict[int, str]:
    """The path of each version that is there, or of each listed one if all of those are."""
    base_path, policy = model.base_path, model.policy
    _require(model, storage)
    if isinstance(policy, Specific):
        if not policy.versions:
            _logger.warning("No specific versions requested for servable %s.", model.name)
            return {}
        listed = {version: storage.child(base_path, str(version)) for version in policy.versions}
        if all(storage.exists(path) for path in listed.values()):
            return listed
    found, duplicates = versions_by_number(storage.children(base_path))
    for duplicate in duplicates:
        _logger.warning(
            "Duplicate version directories detected. Version %d will be loaded from %s, "
            "%s will be ignored.",
            duplicate.version,
            duplicate.used,
            duplicate.ignored,
        )
    for version in missing_versions(policy, found):
        _logger.warning(
            "Version %d of servable %s, which was requested to be served as a 'specific' version "
            "in the servable's version policy, was not found in the file system",
            version,
            model.name,
        )
    return {version: storage.child(base_path, name) for version, name in found.items()}


def _require(model: ModelSource, storage: Storage) -> None:
    """Tell a base path that is missing, or cannot be asked for, from one that is empty."""
    try:
        if not storage.exists(model.base_path):
            raise NotFound(f"{model.base_path} not found")
    except ServingError as error:
        raise NotFound(
            f"Could not find base path {model.base_path} for servable {model.name} "
            f"with error {error.status}"
        ) from error


def _choose(
    model: ModelSource,
    present: Mapping[int, str],
    memory: Memory,
    is_complete: Callable[[str], bool],
) -> Finding:
    wanted = chosen_versions(model.policy, present)
    if not wanted:
        _logger.warning(
            "No versions of servable %s found under base path %s. "
            "Did you forget to name your leaf directory as a number (eg. '/1/')?",
            model.name,
            model.base_path,
        )
        return Finding(Memory(), {})
    complete = memory.complete & set(present.values())
    examined: dict[int, bool] = {}

    def ready(version: int) -> bool:
        examined[version] = present[version] in complete or is_complete(present[version])
        return examined[version]

    chosen = _first_ready(model.policy, present, ready)
    incomplete = frozenset(present[version] for version, done in examined.items() if not done)
    complete |= {present[version] for version, done in examined.items() if done}
    if chosen or memory.served:
        for path in sorted(incomplete - memory.held_back):
            _logger.warning("Servable %s: %s is not complete yet and held back", model.name, path)
        later = Memory(complete, held_back=incomplete, served=True)
        if not chosen:
            return Finding(later)
        renewed = frozenset(v for v in chosen if present[v] in memory.premature)
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
