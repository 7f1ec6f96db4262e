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
