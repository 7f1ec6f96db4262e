"""Compare how models of many frameworks are served: `python -m benchmarks.frameworks`."""

import argparse
import datetime
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.frameworks import page
from benchmarks.frameworks.contest import Contest
from benchmarks.frameworks.environments import Environment, NotInstallable, fastapi, mlserver
from benchmarks.frameworks.models import MODELS
from benchmarks.frameworks.options import STARTUP, parse
from benchmarks.frameworks.rivals import Pythons
from benchmarks.frameworks.starts import measure_backends
from benchmarks.load import LoadFailed
from benchmarks.report import as_text
from benchmarks.servers import ROOT, ServerFailed

DISTRIBUTIONS = ("onnxruntime", "scikit-learn", "xgboost-cpu", "lightgbm", "torch")
START_ROUNDS = 3

Say = Callable[[str], None]


def run(options: argparse.Namespace, say: Say) -> dict[str, Any]:
    """Measure what was asked for; a model that fails does not take the others along."""
    folder: Path = options.workdir
    folder.mkdir(parents=True, exist_ok=True)
    names = [name for name in MODELS if name in options.only]
    if names:
        make = [sys.executable, "-m", "benchmarks.frameworks.making", str(folder), *names]
        subprocess.run(make, check=True, cwd=ROOT)
    results: dict[str, Any] = {
        "machine": machine.describe(DISTRIBUTIONS),
        "models": {},
        "starts": [],
        "failures": [],
    }
    has_rivals = any(MODELS[name].has_rivals for name in names)
    pythons = installed(results, folder, say) if has_rivals and not options.quick else Pythons()
    for name in names:
        try:
            results["models"][name] = measured(name, pythons, options, say)
        except (ServerFailed, LoadFailed) as failure:
            say(f"{name} failed: {failure}")
            results["failures"].append({"model": name, "failure": str(failure)})
    if STARTUP in options.only:
        rounds = 1 if options.quick else START_ROUNDS
        starts = measure_backends(options.server.command, folder, rounds, say)
        results["starts"] = [start.as_json() for start in starts]
    return results


def installed(results: dict[str, Any], folder: Path, say: Say) -> Pythons:
    """The environments of the rivals; one that cannot be made is left out, and named."""
    found: dict[str, Path] = {}
    for environment in (mlserver(), fastapi()):
        try:
            found[environment.name] = environment.python(folder)
            note(results, environment, folder)
        except NotInstallable as problem:
            say(f"left out: {problem}")
            results["failures"].append({"model": environment.name, "failure": str(problem)})
    return Pythons(**found)


def note(results: dict[str, Any], environment: Environment, folder: Path) -> None:
    """Say which version is compared with."""
    results["machine"][environment.distribution] = environment.version(folder)


def measured(name: str, pythons: Pythons, options: argparse.Namespace, say: Say) -> dict[str, Any]:
    """One model; its tables appear as they are complete."""
    contest = Contest(
        MODELS[name],
        options.server.command,
        pythons,
        options.workdir,
        options.rounds,
        options.seconds,
        options.protocols,
    )
    cells: list[dict[str, Any]] = []
    for fresh in contest.play(lambda text: say(f"{name}: {text}")):
        shown = [cell.as_json() for cell in fresh]
        cells += shown
        print(as_text(page.CELL_HEADER, page.cell_rows(shown)), end="\n\n", flush=True)
    return {
        "date": datetime.date.today().isoformat(),
        "quick": options.quick,
        "framework": MODELS[name].framework,
        "title": MODELS[name].title,
        "computes_long": MODELS[name].computes_long,
        "cells": cells,
    }


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    began = time.perf_counter()

    def say(text: str) -> None:
        print(f"[{time.perf_counter() - began:4.0f} s] {text}", flush=True)

    results = run(options, say)
    for title, header, rows in page.sections(results, is_complete=False):
        print(f"{title}\n{as_text(header, rows)}\n")
    if options.name:
        print(page.write(results, Path(__file__).parents[1] / "results", options.name))
    return 1 if results["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
