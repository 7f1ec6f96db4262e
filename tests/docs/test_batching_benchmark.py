"""The benchmark of batching tries what a person would try, and compares like with like."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks.batches import answers_of, batches_of, requests_of, together
from benchmarks.batching import charts, page
from benchmarks.batching.contest import Contest, time_limit_s
from benchmarks.batching.models import ENCODER, generate_ids
from benchmarks.batching.options import parse
from benchmarks.batching.ratios import comparisons, loop_limit
from benchmarks.batching.settings import (
    FULL_GRID,
    Setting,
    best,
    differ_at,
    enqueued_for,
    tuned_server,
)
from benchmarks.batching.workloads import QUICK, WORKLOADS, BatchWorkload
from benchmarks.driver.client import Driver
from benchmarks.measure import Cell, Turn
from benchmarks.options import DEFAULT_SERVER
from salver.config.batching import batching_settings
from salver.config.command_line import parse as parse_flags

ROOT = Path(__file__).resolve().parents[2]


def test_the_server_takes_a_setting_as_it_was_meant(tmp_path: Path) -> None:
    setting = Setting(64, 1000, 2)
    program = tuned_server(("salver",), setting, tmp_path, pads=True, enqueued=7)
    flags = parse_flags(program.command[1:]).flags
    read = batching_settings(flags)
    assert read.threads == 2
    assert read.options is not None
    assert read.options.max_batch_size == 64
    assert read.options.batch_timeout_s == pytest.approx(0.001)
    assert read.options.max_enqueued_batches == 7
    assert read.options.pad_variable_length_inputs


@pytest.mark.parametrize(
    ("concurrency", "rows", "sizes"),
    [
        pytest.param(1, 1, {4, 1000}, id="one caller"),
        pytest.param(16, 1, {4, 16, 1000}, id="a full batch of all callers"),
        pytest.param(4, 3, {4, 16, 1000}, id="requests of three rows"),
        pytest.param(256, 1, {4, 16, 64, 1000}, id="only the largest holds all"),
    ],
)
def test_only_settings_that_can_make_a_difference_are_tried(
    concurrency: int, rows: int, sizes: set[int]
) -> None:
    tried = differ_at(FULL_GRID, concurrency, rows)
    assert {setting.max_batch_size for setting in tried} == sizes
    assert len(tried) == 9 * len(sizes)


def test_the_best_has_the_most_answers_and_of_equals_the_lowest_99th_percentile() -> None:
    seen = {"much": (1000.0, 90.0), "as much": (980.0, 20.0), "less": (900.0, 1.0)}
    assert best(seen) == ["as much"]
    assert best(seen, 2) == ["as much", "much"]
    assert best(seen, 9) == ["as much", "much", "less"]


def test_a_queue_is_bounded_by_the_time_that_clients_have() -> None:
    assert enqueued_for(Setting(16, 0, 2), rows_per_s=6400.0, limit_s=0.1) == 20
    assert enqueued_for(Setting(1000, 0, 2), rows_per_s=100.0, limit_s=0.1) == 1


def test_requests_are_cut_to_their_length_or_filled_up_to_the_next_step() -> None:
    ids = np.array([[0, 1, 2, 0, 0], [0, 3, 4, 5, 6]], np.int32)
    arrays = {"input": ids, "lengths": np.array([3, 5]), "expected": np.eye(2)}
    assert [r.tolist() for r in requests_of(arrays, 1)] == [[[0, 1, 2]], [[0, 3, 4, 5, 6]]]
    assert [r.shape for r in requests_of(arrays, 4)] == [(1, 4), (1, 5)]
    assert [a.tolist() for a in answers_of(arrays)] == [[[1, 0]], [[0, 1]]]
    whole = requests_of({"input": ids})
    assert [r.shape for r in whole] == [(2, 5)]


def test_batches_take_the_requests_in_order_and_fill_what_is_shorter() -> None:
    requests = [np.full((1, size), size, np.int32) for size in (1, 2, 3)]
    assert together(requests).tolist() == [[1, 0, 0], [2, 2, 0], [3, 3, 3]]
    assert [batch.tolist() for batch in batches_of(requests, 2)] == [
        [[1, 0], [2, 2]],
        [[3, 3, 3], [1, 0, 0]],
    ]
    [repeated] = batches_of(requests[:1], 4)
    assert repeated.tolist() == [[1]] * 4


def test_every_sentence_begins_with_what_it_is_filled_with_and_has_a_token() -> None:
    arrays = generate_ids()
    for [row] in requests_of(arrays, 1):
        assert row[0] == 0
        assert (row[1:] > 0).all()
        assert len(row) >= 4


def cell(server: str, concurrency: int, rate: float, p99_ms: float = 2.0) -> dict[str, Any]:
    measured = Cell("tiny", "gRPC", concurrency, server)
    measured.turns.append(Turn(rate, 1e6 / rate, 1.0, p99_ms, 1.5, 0))
    return {**measured.as_json(), "rows_per_batch": 3.5 if server == "auto" else None}


def opened(server: str, load: float, in_time: float) -> dict[str, Any]:
    rate = load * 1000
    shares = {"in_time": in_time, "refused": 0.02, "expired": 0.03, "failed": 0.0}
    latencies = {"p50_ms": 1.0, "p99_ms": 10 * load, "mean_ms": 1.0, "send_lag_p99_ms": 0.1}
    turn = {"arrivals_per_s": rate, "in_time_per_s": in_time * rate, "cpu_us": 10.0}
    turn |= {**shares, **latencies, "own_cpu_us": 5.0}
    return {"server": server, "load": load, "capacity": 1000.0, "turn": turn}


SETTING, OTHER = Setting(64, 1000, 2), Setting(4, 0, 1)
WORKLOAD: dict[str, Any] = {
    "name": "tiny",
    "title": "a small model",
    "rows": 1,
    "limit_ms": 50.0,
    "trials": [{"setting": {"threads": 1}}, {"setting": {"threads": 2}}],
    "cells": [
        *(cell("off", c, 100.0 * c) for c in (1, 64)),
        *(cell("auto", c, 150.0 * c) for c in (1, 64)),
        *(cell(SETTING.name, c, 120.0 * c) for c in (1, 64)),
        cell(OTHER.name, 64, 10.0),
        cell("grpc.aio", 64, 960.0),
    ],
    "open": [
        *(opened(s, load, 0.9) for load in (0.6, 1.5) for s in ("off", "auto", SETTING.name)),
    ],
    "loops": [
        {"batch": batch, "callers": callers, "threads_per_call": 1, "rate": rate, "cpu_us": 1.0}
        for batch, callers, rate in ((1, 1, 300.0), (1, 2, 500.0), (64, 1, 20_000.0))
    ]
    + [{"batch": 64, "callers": 2, "threads_per_call": 1, "rate": 4e4, "cpu_us": 1.0}],
}
RESULTS: dict[str, Any] = {
    "date": "2026-01-01",
    "machine": {"cores": "2"},
    "quick": True,
    "seconds": 120.0,
    "workloads": [WORKLOAD],
    "failures": [{"workload": "mlp", "failure": "auto gave a wrong answer"}],
}


def test_each_concurrency_is_compared_with_its_own_best_setting_and_limit() -> None:
    alone, many = comparisons(WORKLOAD)
    assert (alone.concurrency, many.concurrency) == (1, 64)
    assert many.tuned_name == SETTING.name
    assert alone.loop_rate == 300.0
    assert many.loop_rate == 20_000.0
    assert alone.grpc is None
    assert many.grpc is not None
    assert many.auto["rate"] / many.grpc["rate"] == 10.0
    assert loop_limit(WORKLOAD["loops"], 1000) == 4e4
    assert loop_limit([], 1) is None


def test_the_page_has_the_ratios_the_failures_and_says_that_it_was_quick() -> None:
    text = page.page(RESULTS, "batching-run.svg")
    assert f"| tiny | 64 | 9,600 | 1.50 x | 1.25 x | {SETTING.name} | 0.48 x | 10.00 x |" in text
    assert "![Answers per second, latency and overload](batching-run.svg)" in text
    assert "**mlp failed:** auto gave a wrong answer" in text
    assert "the figures are rough" in text
    assert "2 settings of TensorFlow Serving's parameters" in text
    # In time 0.9 of 1500 arrivals, at a capacity of 1000.
    assert "| tiny | 50 ms | auto | 1,000 | 1,500 | 1,350 | 135% |" in text
    assert "| tiny | auto | 150% | 1,500 | 1,350 | 90% | 2.0% | 3.0% | 5.0% |" in text
    assert "+0%" in text


def test_the_charts_are_svg_with_a_line_for_each_kind_of_server() -> None:
    drawing = ElementTree.fromstring(charts.draw(RESULTS))
    name = "{http://www.w3.org/2000/svg}"
    panels = drawing.findall(f"{name}g")
    assert len(panels) == 4
    lines = [len(panel.findall(f"{name}polyline")) for panel in panels]
    # Off, auto, the best setting and grpc.aio, and among the answers the limit.
    assert lines == [5, 4, 3, 3]


def test_a_limit_far_above_all_servers_is_left_out_of_the_chart() -> None:
    near: charts.Lines = {"auto": [(1, 10.0)], "bare loop": [(1, 20.0)]}
    far: charts.Lines = {"auto": [(1, 10.0)], "bare loop": [(1, 1000.0)]}
    assert set(charts.without_far_limit(near)) == {"auto", "bare loop"}
    assert set(charts.without_far_limit(far)) == {"auto"}


@pytest.mark.parametrize(
    ("low", "high"), [(0.1, 4000.0), (2.0, 7.0), (5000.0, 60_000.0), (9.0, 12.0)]
)
def test_an_axis_has_ticks_within_it_in_order(low: float, high: float) -> None:
    ticks = charts.axis([low, high], 100, is_logarithmic=True).ticks()
    assert 2 <= len(ticks) <= 10
    assert ticks == sorted(ticks)
    assert low / 1.2 <= ticks[0] <= ticks[-1] <= high * 1.2


def test_clients_of_an_open_load_wait_for_ten_answers_but_not_less_than_50_ms() -> None:
    def alone(mean_ms: float) -> list[Cell]:
        cells = [Cell("m", "gRPC", concurrency, "off") for concurrency in (1, 64)]
        for each, factor in zip(cells, (1, 20), strict=True):
            each.turns.append(Turn(1.0, 1.0, 1.0, 1.0, mean_ms * factor, 0))
        return cells

    assert time_limit_s(alone(20.0)) == pytest.approx(0.2)
    assert time_limit_s(alone(1.0)) == pytest.approx(0.05)


def test_a_quick_run_takes_fewer_models_unless_told_which() -> None:
    assert parse([]).only == list(WORKLOADS)
    assert parse(["--quick"]).only == list(QUICK)
    assert parse(["--quick", "--only", "mobilenet"]).only == ["mobilenet"]


def test_an_unknown_model_is_refused_with_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--only", "tiny,huge"])
    assert "huge" in capsys.readouterr().err


@pytest.mark.parametrize("workload", WORKLOADS.values(), ids=WORKLOADS)
def test_the_quick_form_asks_for_a_part_of_what_the_whole_asks_for(workload: BatchWorkload) -> None:
    short = workload.in_short()
    assert set(short.concurrencies) <= set(workload.concurrencies)
    assert set(short.batch_sizes) <= set(workload.batch_sizes)
    assert set(short.screened) <= set(workload.screened)
    assert len(short.grid) < len(workload.grid)


MAKE_ENCODER = (
    "import sys; from pathlib import Path; from benchmarks.batching.models import *; "
    "make_missing({ENCODER: export_encoder}, Path(sys.argv[1]), generate)"
)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("tensorflow") is None, reason="TensorFlow is not installed")
def test_a_setting_and_automatic_batching_answer_both_kinds_of_load_rightly(tmp_path: Path) -> None:
    make = [sys.executable, "-c", MAKE_ENCODER, str(tmp_path)]
    subprocess.run(make, check=True, cwd=ROOT, capture_output=True)
    assert (tmp_path / f"{ENCODER.name}.npz").exists()
    command = DEFAULT_SERVER.command
    workload = WORKLOADS["encoder"]
    said: list[str] = []
    with Driver() as driver:
        contest = Contest(workload, command, tmp_path, driver, said.append)
        programs = [
            tuned_server(command, Setting(16, 1000, 2), tmp_path, pads=True),
            contest.automatic(),
        ]
        with contest.running(*programs) as rivals:
            tuned, auto = rivals.values()
            for rival in (tuned, auto):
                # Requests of many lengths at once: a row that got the answer of another fails.
                rival.check(64)
                rival.calibrate(16, 0.1)
                turn = rival.turn(16, 0.2)
                assert turn.failed == 0
                assert turn.rate > 0
                opened = rival.open_turn(rate=50.0, seconds=0.5, limit_s=30.0, seed=1)
                assert (opened.in_time, opened.failed) == (1.0, 0.0)
            batches, rows = tuned.batches()
            assert rows > 2 * batches
