"""The mark of programs that run in another process: they have threads of their own."""

from collections.abc import Callable


class Lane:
    """Tells the programs of one version from those of others. What it leads to: see `lanes.py`."""

    def __init__(self, places: int) -> None:
        self.places = places
        """How many runs go on at the same time."""
        self.on_close: Callable[[], None] | None = None
        """Set by the loop with the first request."""

    def close(self) -> None:
        """No request will come any more. From any thread."""
        if self.on_close is not None:
            self.on_close()
