"""Which models run in worker processes: `--isolate_models` and what belongs to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from salver.config.flags import Flags, schedulable_cpus
from salver.core.backend import Apart
from salver.errors import InvalidArgument

_AUTO, _ALL, _NONE = "auto", "all", "none"
_MOST_BY_DEFAULT = 4
_MOST = 1024


@dataclass(frozen=True, slots=True)
class IsolationSettings:
    """What the flags say."""

    rule: str
    """For models that have no entry: `auto`, `all` or `none`."""
    workers: int | None
    """Of a version, where nothing is said of its model. None: as many as suit it."""
    run_limit_s: float | None
    by_model: Mapping[str, int | None] = field(default_factory=dict)
    """Workers of some models; 0: not isolated, None: as many as of others."""

    def workers_of(self, model: str, apart: Apart) -> int:
        """How many worker processes a version of this model is to have; 0: it is not isolated."""
        own = self.by_model.get(model)
        if own is not None:
            return own
        isolated = (
            model in self.by_model
            or self.rule == _ALL
            or (self.rule == _AUTO and apart is not Apart.NEEDLESS)
        )
        return (self.workers or _suitable_workers(apart)) if isolated else 0


def _suitable_workers(apart: Apart) -> int:
    # What makes a process unusable is a GPU: there is one, and each worker takes memory there.
    if apart is Apart.MAY_LOSE_PROCESS:
        return 1
    return min(schedulable_cpus(), _MOST_BY_DEFAULT)


def isolation_settings(flags: Flags) -> IsolationSettings:
    """Read the flags.

    Raises:
        InvalidArgument: one of them makes no sense.
    """
    rule, by_model = _read(flags.isolate_models)
    if not 0 <= flags.isolated_workers <= _MOST:
        raise InvalidArgument(
            f"--isolated_workers must be between 0 and {_MOST}; got {flags.isolated_workers}"
        )
    return IsolationSettings(
        rule,
        flags.isolated_workers or None,
        flags.isolated_run_limit_s or None,
        by_model,
    )


def _read(text: str) -> tuple[str, dict[str, int | None]]:
    rule: str | None = None
    by_model: dict[str, int | None] = {}
    for item in filter(None, map(str.strip, text.split(","))):
        if item in (_AUTO, _ALL, _NONE):
            if rule is not None:
                raise InvalidArgument(f"--isolate_models: {rule} and {item} exclude each other")
            rule = item
            continue
        name, workers = _entry(item)
        if name in by_model:
            raise InvalidArgument(f"--isolate_models names {name} more than once")
        by_model[name] = workers
    return rule or _AUTO, by_model


def _entry(item: str) -> tuple[str, int | None]:
    name, colon, number = item.partition(":")
    if item.startswith("-"):
        name, workers = item[1:], 0
    elif not colon:
        return name, None
    else:
        workers = int(number) if number.isascii() and number.isdigit() else 0
        if not 1 <= workers <= _MOST:
            raise InvalidArgument(
                f"--isolate_models: the workers of {name} must be between 1 and {_MOST}; "
                f"got {number or 'nothing'}"
            )
    if not name:
        raise InvalidArgument(f"--isolate_models: {item} names no model")
    return name, workers
