"""What versions may not do: `--refuse_unsafe_models`, and the exceptions from it."""

from salver.config.flags import Flags
from salver.errors import InvalidArgument
from salver.scanning.report import Allowance

_TRUSTED = "unknown-object"


def unsafe_model_exceptions(flags: Flags) -> tuple[Allowance, ...] | None:
    """What is let through; None: every version is, without a scan.

    Types that `--skops_trusted_types` names are let through, too.

    Raises:
        InvalidArgument: an exception names no rule.
    """
    try:
        given = [
            Allowance.of(text)
            for text in filter(None, map(str.strip, flags.unsafe_model_exceptions.split(",")))
        ]
    except ValueError as error:
        raise InvalidArgument(f"--unsafe_model_exceptions: {error}") from error
    if not flags.refuse_unsafe_models:
        return None
    trusted = filter(None, flags.skops_trusted_types.split(","))
    return (*given, *(Allowance(_TRUSTED, each) for each in trusted))
