"""Names that are not there, and those that may be meant."""

import difflib
from collections.abc import Collection


def nearest(given: str, known: Collection[str]) -> str:
    """The end of a message about a name that is not there: which is meant, or which there are."""
    by_lower_case = {name.lower(): name for name in known}
    close = difflib.get_close_matches(given.lower(), by_lower_case, n=1)
    if close:
        return f"; did you mean {by_lower_case[close[0]]!r}?"
    return f"; there are: {', '.join(map(repr, sorted(known)))}" if known else "; there are none"
