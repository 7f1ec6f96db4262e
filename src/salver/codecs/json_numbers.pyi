"""Arrays of numbers in a JSON text, which are most of most bodies: one block of memory each."""

from typing import final

@final
class Numbers:
    """A regular nest of numbers, without an object for each. For `json_tensor` only."""
