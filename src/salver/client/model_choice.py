"""Which model, version and signature a call is for."""

from dataclasses import dataclass

from salver.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Without a version and a label it is the latest version.

    Raises:
        InvalidArgument: there is no name, or both a version and a label.
    """

    model: str
    version: int | None = None
    label: str | None = None
    signature: str = ""
    """Empty for the default one."""

    def __post_init__(self) -> None:
        if not self.model:
            raise InvalidArgument("the model has no name")
        if self.version is not None and self.label is not None:
            raise InvalidArgument(
                f"version {self.version} and label {self.label!r} were given; choose one"
            )
