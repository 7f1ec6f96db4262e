"""Damaged versions of valid inputs: bytes changed, cut, doubled, swapped, and pieces exchanged.

Everything comes from one `Random`, so a seed repeats a run.
"""

from collections.abc import Callable, Sequence
from random import Random

MAX_BYTES = 64 * 1024

_BYTES = bytes((0, 1, 7, 8, 9, 10, 13, 32, 34, 44, 0x2F, 0x30, 0x39, 0x5B, 0x5C, 0x5D, 0x7B, 0x7D,
                0x7F, 0x80, 0xC0, 0xED, 0xEF, 0xFE, 0xFF))  # fmt: skip
_NUMBERS = [0, 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1]

Structured = Callable[[Random, bytes, bytes], bytes]
"""Changes an input, with another one at hand, without breaking its outer form."""


class Mutator:
    """Makes new inputs out of old ones."""

    def __init__(
        self,
        random: Random,
        tokens: Sequence[bytes] = (),
        structured: Structured | None = None,
        most_bytes: int = MAX_BYTES,
    ) -> None:
        self._random = random
        self._tokens = tokens or (b"\0",)
        self._structured = structured
        self._most_bytes = most_bytes
        self._changes = [
            self._replace_byte, self._flip_bit, self._cut, self._double, self._repeat,
            self._insert_token, self._replace_by_token, self._insert_number, self._swap,
            self._truncate, self._add_to_byte,
        ]  # fmt: skip

    def mutate(self, base: bytes, other: bytes) -> bytes:
        """A few changes to `base`, perhaps with something of `other`."""
        random = self._random
        data = base
        for _ in range(random.choice((1, 1, 2, 3, 5, 8))):
            if self._structured is not None and random.random() < 0.6:
                data = self._structured(random, data, other)
            elif random.random() < 0.1:
                data = spliced(random, data, other)
            else:
                data = bytes(random.choice(self._changes)(bytearray(data)))
            # After each: several that make it a thousand times as long would fill the memory.
            data = data[: self._most_bytes]
        return data

    def _place(self, data: bytearray) -> int:
        return self._random.randrange(len(data) + 1)

    def _span(self, data: bytearray, most: int) -> tuple[int, int]:
        start = self._place(data)
        return start, min(len(data), start + self._random.randint(1, most))

    def _replace_byte(self, data: bytearray) -> bytearray:
        start = self._place(data)
        data[start : start + 1] = bytes((self._random.choice(_BYTES),))
        return data

    def _add_to_byte(self, data: bytearray) -> bytearray:
        if data:
            place = self._random.randrange(len(data))
            data[place] = (data[place] + self._random.choice((-2, -1, 1, 2, 16))) & 0xFF
        return data

    def _flip_bit(self, data: bytearray) -> bytearray:
        if data:
            data[self._random.randrange(len(data))] ^= 1 << self._random.randrange(8)
        return data

    def _cut(self, data: bytearray) -> bytearray:
        start, end = self._span(data, self._random.choice((1, 2, 8, 64)))
        del data[start:end]
        return data

    def _double(self, data: bytearray) -> bytearray:
        start, end = self._span(data, self._random.choice((1, 4, 16, 256)))
        data[start:start] = data[start:end]
        return data

    def _repeat(self, data: bytearray) -> bytearray:
        if self._random.random() < 0.9:
            return self._double(data)
        start, end = self._span(data, self._random.choice((1, 2, 4, 8, 64)))
        data[start:start] = data[start:end] * self._random.choice((10, 100, 1000, 10_000, 20_000))
        return data

    def _insert_token(self, data: bytearray) -> bytearray:
        start = self._place(data)
        data[start:start] = self._random.choice(self._tokens)
        return data

    def _replace_by_token(self, data: bytearray) -> bytearray:
        token = self._random.choice(self._tokens)
        start = self._place(data)
        data[start : start + len(token)] = token
        return data

    def _insert_number(self, data: bytearray) -> bytearray:
        number = max(self._random.choice(_NUMBERS) + self._random.randint(-1, 1), 0)
        width = self._random.choice((1, 2, 4, 8))
        start = self._place(data)
        end = start + width if self._random.random() < 0.7 else start
        number &= 2 ** (8 * width) - 1
        is_little = self._random.random() < 0.5
        data[start:end] = number.to_bytes(width, "little" if is_little else "big")
        return data

    def _swap(self, data: bytearray) -> bytearray:
        start, end = self._span(data, 16)
        piece = data[start:end]
        del data[start:end]
        place = self._place(data)
        data[place:place] = piece
        return data

    def _truncate(self, data: bytearray) -> bytearray:
        if self._random.random() < 0.3:
            del data[self._place(data) :]
        return data


def spliced(random: Random, data: bytes, other: bytes) -> bytes:
    """The beginning of one and the end of the other."""
    return data[: random.randrange(len(data) + 1)] + other[random.randrange(len(other) + 1) :]
