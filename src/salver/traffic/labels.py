"""Version labels: names that operators give to versions of a model.

A whole table is tested, then put in place of the old one: one bad label refuses
all of it, and a refused table changes nothing. Loop only.
"""

from collections.abc import Callable, Collection, Mapping

from salver.errors import FailedPrecondition, InvalidArgument, Unavailable

Labels = Mapping[str, Mapping[str, int]]
"""Name of a model, then label, to version."""


class LabelTable:
    """The labels in force."""

    def __init__(self) -> None:
        self._labels: dict[str, dict[str, int]] | None = None

    def version(self, model: str, label: str) -> int:
        """The version that carries a label, available or not.

        Raises:
            InvalidArgument: the model has no such label.
            Unavailable: no table has been put in place yet.
        """
        if self._labels is None:
            raise Unavailable(f"Model labels does not init yet.{label}")
        version = self._labels.get(model, {}).get(label)
        if version is None:
            raise InvalidArgument(f"Unrecognized servable version label: {label}")
        return version

    def check(
        self,
        wanted: Labels,
        available_versions: Callable[[str], Collection[int]],
        *,
        allow_unavailable: bool = False,
    ) -> None:
        """Test whether `wanted` may replace this table now.

        A label may point at a version that is available. With `allow_unavailable` it
        may point at any other, too, unless it is in use for a different version: a
        label that clients use must never lose its version by mistake.

        Raises:
            FailedPrecondition: one label may not.
        """
        current = self._labels or {}
        for model, labels in wanted.items():
            available = available_versions(model)
            for label, version in labels.items():
                moved = current.get(model, {}).get(label, version) != version
                if version not in available and (moved or not allow_unavailable):
                    raise FailedPrecondition(
                        f"Request to assign label to version {version} of model {model}, "
                        "which is not currently available for inference"
                    )

    def replace(self, wanted: Labels) -> None:
        """Put a table that has passed `check` in place of this one."""
        self._labels = {model: dict(labels) for model, labels in wanted.items()}
