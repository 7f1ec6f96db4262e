"""What a push tells of itself while it goes on."""

from typing import Protocol


class Progress(Protocol):
    """Somebody who watches."""

    def begin(self, what: str, total: int, unit: str) -> None:
        """Something begins that takes long: so many bytes or runs."""

    def advance(self, amount: int) -> None:
        """So much more of it is done. From any thread."""

    def end(self) -> None:
        """It is over, done or broken off."""

    def tell(self, name: str, text: str) -> None:
        """A step is done; one line."""
