"""The benchmark of frameworks compares what the frameworks compute, and shows it readably."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.frameworks import page
from benchmarks.frameworks.__main__ import main
from benchmarks.frameworks.models import MODELS, QUICK
from benchmarks.frameworks.options import TOPICS, parse
from benchmarks.frameworks.questions import Row
from benchmarks.frameworks.ratios import measured_of
from benchmarks.frameworks.rivals import FASTAPI, GRPC_AIO, LOOP, OFF, SALVER
from benchmarks.measure import Cell, Turn


def cell(
    form: str, server: str, rate: float, cpu_us: float, client_cpu_us: float = 0.0
) -> dict[str, Any]:
    measured = Cell("xgboost-small", form, 64, server)
    is_loop = server.startswith(LOOP)
    latency_ms = 0.0 if is_loop else 1.5
    latencies = (latency_ms, latency_ms, latency_ms)
    measured.turns.append(Turn(rate, cpu_us, *latencies, 0, client_cpu_us))
    return measured.as_json()


def model(cells: list[dict[str, Any]], date: str = "2026-01-01") -> dict[str, Any]:
    facts = {"date": date, "quick": False, "framework": "xgboost", "title": "trees"}
    return {**facts, "computes_long": False, "cells": cells}


CELLS = [
    cell("REST", SALVER, 9000.0, 80.0),
    cell("REST", OFF, 12_000.0, 40.0),
    cell("REST", FASTAPI, 3000.0, 320.0),
    cell("REST", f"{LOOP}, 1 caller", 6000.0, 100.0),
    cell("gRPC", SALVER, 12_000.0, 50.0, client_cpu_us=10.0),
    cell("gRPC", OFF, 30_000.0, 25.0),
    cell("gRPC", GRPC_AIO, 2000.0, 450.0),
    cell("gRPC", f"{LOOP}, 1 caller", 8000.0, 100.0),
    cell("gRPC", f"{LOOP}, 2 callers", 10_000.0, 110.0),
]
RESULTS: dict[str, Any] = {
    "machine": {"cores": "2"},
    "models": {"xgboost-small": model(CELLS)},
    "starts": [],
    "failures": [{"model": "mlserver", "failure": "no such version"}],
}


def test_the_better_loop_is_the_limit_and_grpc_aio_is_compared_with_both_protocols() -> None:
    rest, grpc = measured_of("xgboost-small", RESULTS["models"]["xgboost-small"], cores=2)
    assert grpc.loop["rate"] == 10_000.0
    # 12,000 answers a second of 10 us each are 6 % of two cores.
    assert grpc.of_loop(SALVER) == pytest.approx((1.2, 1.2 / 0.94, 2.2))
    assert rest.of_loop(SALVER) == (1.5, 1.5, 1.25)
    assert rest.grpc_aio is not None
    assert rest.over(SALVER, rest.grpc_aio) == (4.5, 450 / 80)


def test_the_page_has_the_ratios_and_what_could_not_be_measured() -> None:
    text = page.page(RESULTS, "frameworks-run.svg")
    assert f"| xgboost-small | gRPC | 10,000 | 110 µs | {SALVER} | 1.20 | 1.28 | 2.20 |" in text
    assert f"| xgboost-small | gRPC | 10,000 | 110 µs | {OFF} | 3.00 | 3.00 | 4.40 |" in text
    assert f"| xgboost-small | gRPC | 2,000 | 450 µs | {OFF} | 15 | 18 |" in text
    assert f"| xgboost-small | REST | {FASTAPI} | 3,000 | 320 µs | {SALVER} | 3.00 | 4.00 |" in text
    assert "**mlserver failed:** no such version" in text
    assert "rough" not in text


def test_what_is_not_measured_again_keeps_its_figures(tmp_path: Path) -> None:
    page.write(RESULTS, tmp_path, "run")
    again = [
        cell("gRPC", SALVER, 24_000.0, 40.0),
        cell("gRPC", OFF, 30_000.0, 25.0),
        cell("gRPC", f"{LOOP}, 1 caller", 8000.0, 100.0),
    ]
    fresh = {**RESULTS, "models": {"xgboost-small": model(again, "2026-01-02")}}
    path = page.write({**fresh, "failures": []}, tmp_path, "run")
    kept = json.loads((tmp_path / "frameworks-run.json").read_text())
    grpc, rest = measured_of("xgboost-small", kept["models"]["xgboost-small"], cores=2)
    assert grpc.servers[SALVER]["rate"] == 24_000.0
    assert rest.servers[SALVER]["rate"] == 9000.0
    assert path.name == "frameworks.md"
    assert "frameworks-run.svg" in path.read_text()


def test_a_quick_run_takes_one_model_unless_told_which() -> None:
    assert parse([]).only == list(TOPICS)
    assert parse(["--quick"]).only == list(QUICK)
    assert parse(["--quick", "--only", "startup"]).only == ["startup"]


@pytest.mark.parametrize("arguments", [["--only", "sklearn,huge"], ["--protocols", "smtp"]])
def test_what_it_does_not_know_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(arguments)
    error = capsys.readouterr().err
    assert "huge" in error or "grpc and rest" in error


def test_an_answer_of_another_size_or_value_is_wrong(tmp_path: Path) -> None:
    asked = MODELS["xgboost-small"]
    np.savez(tmp_path / f"{asked.name}.npz", input=np.zeros(asked.shape), expected=np.ones(1))
    row = Row(asked, tmp_path)
    assert row.is_right(np.array([[1.00001]]))
    assert not row.is_right(np.array([1.1]))
    assert not row.is_right(np.array([1.0, 1.0]))


@pytest.mark.slow
def test_a_quick_run_measures_a_model_with_right_answers_and_no_failures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("xgboost")
    assert main(["--quick", "--protocols", "grpc", "--workdir", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "Against the framework's own loop" in shown
    assert "Against grpc.aio" in shown
    assert "failed" not in shown
