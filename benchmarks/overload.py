"""What a server does with more than it can do: `python -m benchmarks.overload`.

First as many requests at once as it can take, one after the other: its best throughput. Then
independent clients at several times that rate, with a deadline and without: how many still get
their answer, how long they wait, and what the others are told. The clients have a processor of
their own: thousands of requests that are refused cost them, too, what the server would then miss.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from benchmarks import report
from benchmarks.light_clients import OK
from benchmarks.machine import apart, describe
from benchmarks.models import MEDIUM
from benchmarks.open_loop import Order, Report
from benchmarks.options import DEFAULT_SERVER, program_of
from benchmarks.servers import ROOT, RunningServer
from benchmarks.workloads import GRPC, REST, Form, Question

AT_ONCE = 8
GOOD_SHARE = 0.9
"""Of the best throughput, what is to be left of it under overload."""
RESULT = Path(__file__).with_name("results") / "overload.md"
_STATUSES = {"4": "DEADLINE_EXCEEDED", "8": "RESOURCE_EXHAUSTED", "14": "UNAVAILABLE"}
HEADER = [
    "protocol", "load", "asked/s", "answered/s", "of best", "CPU ms", "p50 ms", "p99 ms", "others",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scene:
    """One load on one protocol, and what came of it."""

    protocol: str
    load: str
    asked: float
    """Requests per second; 0: the next when the last is answered."""
    share: float
    """Answers, of the best throughput."""
    report: Report
    cpu_ms: float
    """CPU time of the server for each good answer: steadier than answers per second."""

    def row(self) -> list[str]:
        total = max(self.report.sent, 1)
        others = ", ".join(
            f"{_STATUSES.get(name, name)} {count / total:.0%}"
            for name, count in sorted(self.report.outcomes.items())
            if name != OK
        )
        return [
            self.protocol,
            self.load,
            f"{self.asked:.0f}" if self.asked else "",
            f"{self.report.rate:.0f}",
            f"{self.share:.0%}",
            f"{self.cpu_ms:.2f}",
            f"{self.report.p50_ms:.0f}",
            f"{self.report.p99_ms:.0f}",
            others or "none",
        ]


def ask(order: Order) -> Report:
    """Have the order carried out by a process of its own."""
    command = [sys.executable, "-m", "benchmarks.open_loop"]
    line = json.dumps(asdict(order)) + "\n"
    limit_s = order.warm_s + order.seconds + 120
    done = subprocess.run(
        command,
        input=line,
        text=True,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        timeout=limit_s,
        check=True,
    )
    return Report(**json.loads(done.stdout))


def scenes(
    server: RunningServer, question: Question, options: argparse.Namespace
) -> list[list[Scene]]:
    """Of a server that is ready, the best throughput and the overloads, once for each round.

    Every overload stands between two measurements of the best, and is compared with both: other
    programs, too, take their share of a machine, now more and now less.
    """
    protocol = question.form.protocol
    port = server.grpc_port if protocol == "grpc" else server.rest_port
    body = question.body_path.read_bytes().hex()

    def loaded(rate: float, deadline_s: float = 0.0) -> tuple[Report, float]:
        seconds = options.seconds if rate else options.seconds / 2
        cpu_s = server.cpu_seconds()
        seen = ask(Order(protocol, port, question.path, body, rate, seconds, AT_ONCE, deadline_s))
        return seen, 1000 * (server.cpu_seconds() - cpu_s) / max(seen.good, 1)

    found: list[list[Scene]] = []
    best, best_cpu = loaded(0.0)
    for _ in range(options.rounds):
        scenes_of_round: list[Scene] = []
        found.append(scenes_of_round)
        for deadline_s in options.deadlines:
            before = best
            rate = options.factor * before.rate
            seen, seen_cpu = loaded(rate, deadline_s)
            best, best_cpu = loaded(0.0)
            capacity = (before.rate + best.rate) / 2
            load = f"{options.factor:g} times"
            load += f", deadline {deadline_s:g} s" if deadline_s else ", no deadline"
            at_best = Scene(question.form.name, f"{AT_ONCE} at once", 0.0, 1.0, best, best_cpu)
            overload = Scene(question.form.name, load, rate, seen.rate / capacity, seen, seen_cpu)
            scenes_of_round += [at_best, overload]
    return found


def measure(options: argparse.Namespace) -> list[Scene]:
    folder: Path = options.workdir
    subprocess.run([sys.executable, "-m", "benchmarks.models", str(folder)], check=True, cwd=ROOT)
    flags = [f"--model_name={MEDIUM.name}", f"--model_base_path={folder / MEDIUM.name}"]
    found: list[Scene] = []
    # What is started next inherits them.
    servers, clients = apart(os.sched_getaffinity(0))
    forms: Sequence[Form] = [form for form in (GRPC, REST) if form.protocol in options.protocols]
    for form in forms:
        question = Question(MEDIUM, form, folder)
        log = folder / f"overload-{form.protocol}.log"
        os.sched_setaffinity(0, servers)
        with RunningServer(options.server, [*flags, *options.flag], log) as server:
            server.wait_for_port(form.protocol)
            os.sched_setaffinity(0, clients)
            rounds = scenes(server, question, options)
            found += map(median, zip(*rounds, strict=True))
    return found


def median(same: Sequence[Scene]) -> Scene:
    """Of one scene in all rounds, the one with the middle share."""
    return sorted(same, key=lambda scene: scene.share)[len(same) // 2]


def page(rows: Sequence[report.Row], options: argparse.Namespace) -> str:
    """The Markdown page of a run."""
    facts = ", ".join(f"{name} {value}" for name, value in describe().items())
    processors = os.cpu_count() or 1
    share = f"{processors - 1} of {processors} processors" if processors > 1 else "one processor"
    head = (
        f"Made by `python -m benchmarks.overload` on {date.today()}; do not edit. {facts}. "
        f"The server had {share}, its clients the last one. {options.rounds} rounds of "
        f"{options.seconds:g} s, of which the middle one is shown. How it is measured: "
        "[../README.md](../README.md#overload)."
    )
    return f"# Results under overload\n\n{head}\n\n{report.as_markdown(HEADER, rows)}\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overload", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each load")
    parser.add_argument("--rounds", type=int, default=3, help="of which the middle one counts")
    parser.add_argument("--factor", type=float, default=4.0, help="times the best throughput")
    parser.add_argument(
        "--deadlines", type=lambda text: [float(each) for each in text.split(",")],
        default=[1.0, 0.0], help="of the clients, in seconds; 0: none (default: 1,0)",
    )  # fmt: skip
    parser.add_argument("--protocols", type=lambda text: text.split(","), default=["grpc", "rest"])
    parser.add_argument("--server", type=program_of, default=DEFAULT_SERVER, metavar="NAME=COMMAND")
    parser.add_argument("--flag", action="append", default=[], help="a further flag of the server")
    parser.add_argument("--workdir", type=Path, default=Path.home() / ".cache" / "salver-bench")
    parser.add_argument("--keep", action="store_true", help="write results/overload.md")
    options = parser.parse_args()
    found = measure(options)
    rows = [scene.row() for scene in found]
    print(report.as_text(HEADER, rows))
    if options.keep:
        RESULT.write_text(page(rows, options))
    fallen = [scene for scene in found if scene.share < GOOD_SHARE]
    for scene in fallen:
        print(f"{scene.protocol}, {scene.load}: less than {GOOD_SHARE:.0%} of the best is left")
    return 1 if fallen else 0


if __name__ == "__main__":
    sys.exit(main())
