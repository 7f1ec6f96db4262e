"""Errors about what the user gave, with the name of the flag or file before them."""

from collections.abc import Iterator
from contextlib import contextmanager

from salver.errors import InvalidArgument


@contextmanager
def told(place: str) -> Iterator[None]:
    """Within, a wrong value is an error that begins with the flag or file it came from.

    Raises:
        InvalidArgument: as it was raised, with the place.
    """
    try:
        yield
    except InvalidArgument as error:
        raise InvalidArgument(f"{place}: {error.message}") from error
