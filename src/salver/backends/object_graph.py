"""Everything that an object of Python holds, however deep: for looking through loaded models."""

from collections.abc import Iterator

import numpy as np

_PLAIN = (str, bytes, int, float, bool, complex, type(None), type)


def parts_of(root: object) -> Iterator[object]:
    """The object and all that it holds in attributes, containers and arrays, each once."""
    seen = {id(root)}
    waiting = [root]
    while waiting:
        found = waiting.pop()
        yield found
        for part in _direct_parts(found):
            if not isinstance(part, _PLAIN) and id(part) not in seen:
                seen.add(id(part))
                waiting.append(part)


def _direct_parts(found: object) -> Iterator[object]:
    if isinstance(found, dict):
        yield from found.keys()
        yield from found.values()
    elif isinstance(found, list | tuple | set | frozenset):
        yield from found
    elif isinstance(found, np.ndarray):
        if found.dtype == object:
            yield from found.ravel().tolist()
    else:
        yield from getattr(found, "__dict__", {}).values()
