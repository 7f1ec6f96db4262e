"""Outputs compared with those that are expected, within tolerances."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from salver.core.nearest import nearest
from salver.push.question import Arrays
from salver.trial.fitting import shown


@dataclass(frozen=True, slots=True)
class Tolerance:
    """A float may differ by `absolute + relative * |expected|`; all else must be the same."""

    relative: float = 1e-3
    absolute: float = 1e-5


def differences(given: Arrays, expected: Arrays, tolerance: Tolerance) -> Iterator[str]:
    """What is not as expected, one line for each output; NaN is as good as NaN."""
    for name, wanted in expected.items():
        found = given.get(name)
        if found is None:
            yield f"output {name!r} is not there{nearest(name, given)}"
        elif found.shape != wanted.shape:
            yield (
                f"output {name!r} has the shape {shown(found.shape)}, "
                f"and {shown(wanted.shape)} is expected"
            )
        else:
            yield from _difference(name, found, np.asarray(wanted), tolerance)


def _difference(
    name: str, found: np.ndarray, wanted: np.ndarray, tolerance: Tolerance
) -> Iterator[str]:
    if _is_inexact(found) and (_is_inexact(wanted) or wanted.dtype.kind in "biu"):
        kind = np.complex128 if "c" in (found.dtype.kind, wanted.dtype.kind) else np.float64
        left, right = found.astype(kind), wanted.astype(kind)
        same = np.isclose(
            left, right, rtol=tolerance.relative, atol=tolerance.absolute, equal_nan=True
        )
    else:
        left, right = found, wanted
        same = np.asarray(left == right, bool).reshape(found.shape)
    if same.all():
        return
    # The worst, where there is one; an element that is NaN on one side only is worse still.
    if left.dtype.kind in "fc":
        with np.errstate(invalid="ignore", over="ignore"):
            distance = np.where(same, -1.0, np.nan_to_num(np.abs(left - right), nan=np.inf))
        worst = np.unravel_index(int(np.argmax(distance)), found.shape)
    else:
        worst = np.unravel_index(int(np.argmin(same)), found.shape)
    place = f"[{', '.join(str(int(index)) for index in worst)}]" if worst else ""
    yield (
        f"{int((~same).sum())} of {same.size} elements of output {name!r} differ: "
        f"{name}{place} is {_text(found[worst])}, and {_text(wanted[worst])} is expected"
    )


def _is_inexact(array: np.ndarray) -> bool:
    # The small floats of ml_dtypes are of kind V, and of no other use here.
    name = array.dtype.name
    return array.dtype.kind in "fc" or "float" in name


def _text(value: object) -> str:
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= 60 else f"{text[:57]}..."
