"""Examples that share a context: what the graph gets for each of them."""

from collections.abc import Sequence

import numpy as np

from salver.errors import InvalidArgument

MAX_REPEATED_BYTES = 1 << 28
"""Of a context, over all the examples that it is put before: a short request could otherwise
take any amount of memory."""


def with_context(context: bytes, examples: Sequence[bytes]) -> np.ndarray:
    """Serialized `tf.Example`s, an object array [n] of bytes, with the context before each.

    Parsed, two messages in a row are one, in which the later fields win.

    Raises:
        InvalidArgument: the context is too long for so many examples.
    """
    if len(context) * len(examples) > MAX_REPEATED_BYTES:
        raise InvalidArgument(
            f"A context of {len(context)} bytes is too long for {len(examples)} examples: "
            f"limit {MAX_REPEATED_BYTES} bytes in all"
        )
    array = np.empty(len(examples), object)
    array[:] = [context + example for example in examples] if context else examples
    return array
