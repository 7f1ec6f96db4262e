"""What was sent, compared with what the signature declares, before a framework sees it.

TensorFlow and TFLite look for themselves; the texts follow theirs and name the input as well.
"""

from collections.abc import Sequence

import numpy as np

from salver.core.data_type import data_type_of, numpy_type_of
from salver.core.signature import Signature, TensorSpec
from salver.errors import InvalidArgument


class InputCheck:
    """The checks for one signature of one model. From any thread."""

    def __init__(self, model_name: str, signature: Signature) -> None:
        self._where = f'Model {model_name}, signature "{signature.name}"'
        self._specs = [
            (alias, spec, numpy_type_of(spec.data_type)) for alias, spec in signature.inputs.items()
        ]
        self._fitted: list[tuple[int, ...] | None] = [None] * len(self._specs)
        """The shape that each input had when it last fitted: mostly the next is the same."""

    def __call__(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The arrays, in the order of the signature's inputs, exactly of the declared types.

        Strings come as object arrays of `bytes`, everything in the machine's byte order. An
        array that fits is returned as it is, which costs half a microsecond or so.

        Raises:
            InvalidArgument: a type or a shape is another than declared.
        """
        checked = []
        fitted = self._fitted
        for place, (array, (alias, spec, numpy_type)) in enumerate(
            zip(arrays, self._specs, strict=True)
        ):
            if array.dtype != numpy_type:
                array = self._converted(array, alias, spec)
            shape = array.shape
            if shape != fitted[place]:
                if not _fits(shape, spec.shape):
                    raise InvalidArgument(
                        f'{self._where}: expects input "{alias}" to have shape '
                        f"{_shown(spec.shape)} but {_shown(shape)} is provided"
                    )
                fitted[place] = shape
            checked.append(array)
        return checked

    def _converted(self, array: np.ndarray, alias: str, spec: TensorSpec) -> np.ndarray:
        found = data_type_of(array.dtype)
        if found is not spec.data_type:
            raise InvalidArgument(
                f'{self._where}: expects input "{alias}" to be {spec.data_type.short_name} '
                f"but {found.short_name} is provided"
            )
        if array.dtype.kind == "U":
            array = np.strings.encode(array, "utf-8")
        return array.astype(numpy_type_of(spec.data_type))


def _fits(shape: tuple[int, ...], declared: tuple[int, ...] | None) -> bool:
    if declared is None:
        return True
    if len(shape) != len(declared):
        return False
    return all(wanted in (-1, size) for size, wanted in zip(shape, declared, strict=True))


def _shown(shape: tuple[int, ...] | None) -> str:
    """As TensorFlow writes shapes: `[?,4]`."""
    sizes = ("?" if size < 0 else str(size) for size in shape or ())
    return f"[{','.join(sizes)}]"
