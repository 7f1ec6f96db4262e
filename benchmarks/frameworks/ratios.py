"""What the figures of one model and protocol say: Salver against the loop, and against others."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.frameworks.rivals import GRPC_AIO, LOOP

Cell = dict[str, Any]
Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Measured:
    """The medians of one model over one protocol, by server."""

    model: str
    form: str
    computes_long: bool
    servers: dict[str, Figures]
    loop: Figures
    """Of the number of callers that gave the most."""
    grpc_aio: Figures | None
    """Over gRPC, which it alone speaks, whatever the protocol."""
    cores: int

    def of_loop(self, server: str) -> tuple[float, float, float]:
        """The answers as a share of the loop's calls; the same for as much of the cores as the
        load generator leaves; the loop's CPU time as a share of the server's.
        """
        own = self.servers[server]
        answers = own["rate"] / self.loop["rate"]
        left = 1 - own["rate"] * own["client_cpu_us"] / 1e6 / self.cores
        return answers, answers / left, self.loop["cpu_us"] / own["cpu_us"]

    def over(self, server: str, other: Figures) -> tuple[float, float]:
        """How many times the answers of the other; how many times its CPU time is this one's."""
        own = self.servers[server]
        return own["rate"] / other["rate"], other["cpu_us"] / own["cpu_us"]


def measured_of(name: str, model: dict[str, Any], cores: int) -> list[Measured]:
    """One for each protocol."""
    cells: Sequence[Cell] = model["cells"]
    found = []
    aio = next((cell["median"] for cell in cells if cell["server"] == GRPC_AIO), None)
    for form in dict.fromkeys(cell["form"] for cell in cells):
        medians = {cell["server"]: cell["median"] for cell in cells if cell["form"] == form}
        loops = [medians.pop(server) for server in list(medians) if server.startswith(LOOP)]
        best = max(loops, key=lambda figures: figures["rate"])
        of_long = model["computes_long"]
        found.append(Measured(name, form, of_long, medians, best, aio, cores))
    return found
