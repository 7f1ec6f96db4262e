"""What the figures of a workload say about batching that tunes itself: ratios."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.batching.settings import AUTO, OFF, best

GRPC, GRPC_SESSION = "grpc.aio", "grpc.aio, session"
NOT_TUNED = frozenset({OFF, AUTO, GRPC, GRPC_SESSION})
Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Medians at one concurrency; of what was not measured, None."""

    concurrency: int
    off: Figures
    auto: Figures
    tuned_name: str
    tuned: Figures
    grpc: Figures | None
    grpc_session: Figures | None
    loop_rate: float | None
    """The most requests per second of the bare loop, no more of them at once than here."""


def comparisons(workload: dict[str, Any]) -> list[Comparison]:
    """One for each concurrency."""
    found = []
    for concurrency in sorted({cell["concurrency"] for cell in workload["cells"]}):
        medians = {
            cell["server"]: cell["median"]
            for cell in workload["cells"]
            if cell["concurrency"] == concurrency
        }
        name = best_tuned(medians)
        found.append(
            Comparison(
                concurrency,
                medians[OFF],
                medians[AUTO],
                name,
                medians[name],
                medians.get(GRPC),
                medians.get(GRPC_SESSION),
                loop_limit(workload["loops"], concurrency),
            )
        )
    return found


def best_tuned(medians: dict[str, Figures]) -> str:
    """The name of the setting that a person would have chosen."""
    seen = {
        name: (figures["rate"], figures["p99_ms"])
        for name, figures in medians.items()
        if name not in NOT_TUNED
    }
    return best(seen)[0]


def loop_limit(loops: Sequence[dict[str, Any]], concurrency: int) -> float | None:
    """The most that the bare model gave with no more requests at once."""
    rates = [loop["rate"] for loop in loops if loop["batch"] * loop["callers"] <= concurrency]
    return max(rates, default=None)


def series(workload: dict[str, Any], figure: str) -> dict[str, list[tuple[float, float]]]:
    """Points of a figure over the concurrency, a line for each server; the settings as one."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for each in comparisons(workload):
        points = {
            OFF: each.off,
            AUTO: each.auto,
            "best setting": each.tuned,
            GRPC: each.grpc,
            GRPC_SESSION: each.grpc_session,
        }
        for name, figures in points.items():
            if figures is not None:
                lines.setdefault(name, []).append((each.concurrency, figures[figure]))
        if figure == "rate" and each.loop_rate is not None:
            lines.setdefault("bare loop", []).append((each.concurrency, each.loop_rate))
    return lines


def open_series(workload: dict[str, Any], figure: str) -> dict[str, list[tuple[float, float]]]:
    """Points of a figure over the arrivals per second."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for cell in workload["open"]:
        name = cell["server"] if cell["server"] in NOT_TUNED else "best setting"
        turn = cell["turn"]
        lines.setdefault(name, []).append((turn["arrivals_per_s"], turn[figure]))
    return lines
