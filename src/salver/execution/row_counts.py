"""How many requests came with how many rows."""


class RowCounts(dict[int, int]):
    """Requests by the number of their rows.

    Who adds one writes `counts[rows] += 1`: a call would cost too much where that is done.
    """

    __slots__ = ("_most",)

    def __init__(self, most: int) -> None:
        """`most`: a request with more rows is not counted: the `+=` raises KeyError."""
        super().__init__()
        self._most = most

    def __missing__(self, rows: int) -> int:
        # Clients could make up numbers for the metrics.
        if rows > self._most:
            raise KeyError(rows)
        return 0


class JoinedCounts:
    """Requests that were run as one on the loop, and what they came to."""

    __slots__ = ("batches", "requests", "wait_s")

    def __init__(self, most: int) -> None:
        """`most`: rows of a batch."""
        self.requests = RowCounts(most)
        self.batches = RowCounts(most)
        self.wait_s = 0.0
        """What the first requests of all batches waited, for all requests of these."""

    def clear(self) -> None:
        """Begin again."""
        self.requests.clear()
        self.batches.clear()
        self.wait_s = 0.0
