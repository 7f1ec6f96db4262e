"""The benchmarks count what was answered, compare like with like, and report it readably."""

import json
import math
import struct
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks.chart import draw
from benchmarks.client import floats_of_response, grpc_body, predict_request, rest_body
from benchmarks.load import LoadFailed, connections_of, read_h2load, read_wrk
from benchmarks.measure import Cell, Turn
from benchmarks.models import TINY, generate_input
from benchmarks.options import parse
from benchmarks.report import as_markdown, as_text, load_rows, page
from salver.codecs.messages import message_class

H2LOAD_REPORT = """\
starting benchmark...
spawning thread #0: 2 total client(s). 8 total requests
progress: 100% done

finished in {seconds}, 100.43 req/s, 12.75KB/s
requests: 8 total, 8 started, 8 done, {succeeded} succeeded, 0 failed, 0 errored, 0 timeout
status codes: 8 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 1.02KB (1040) total, 174B (174) headers (space savings 73.15%), 272B ({data}) data
                     min         max         mean         sd        +/- sd
time for request:     2.55ms     76.11ms     38.93ms     38.67ms   100.00%
"""
H2LOAD_LOG = "".join(f"179539578883718{n}\t200\t{1000 * (n + 1)}\n" for n in range(8))
RESPONSE_BYTES = 34


def h2load_report(*, seconds: str = "79.66ms", succeeded: int = 8, data: int = 272) -> str:
    return H2LOAD_REPORT.format(seconds=seconds, succeeded=succeeded, data=data)


def cell(server: str, rate: float, cpu_us: float, *, concurrency: int = 64) -> dict[str, Any]:
    measured = Cell("tiny", "gRPC", concurrency, server)
    measured.turns.append(Turn(rate, cpu_us, 1.0, 2.0, 1.2, 0))
    return measured.as_json()


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        pytest.param("79.66ms", 0.07966, id="milliseconds"),
        pytest.param("1.68s", 1.68, id="seconds"),
        pytest.param("950us", 0.00095, id="microseconds"),
    ],
)
def test_a_report_of_h2load_is_understood(written: str, seconds: float) -> None:
    load = read_h2load(h2load_report(seconds=written), H2LOAD_LOG, RESPONSE_BYTES)
    assert (load.answered, load.failed) == (8, 0)
    assert load.seconds == pytest.approx(seconds)
    assert load.rate == pytest.approx(8 / seconds)
    assert load.p50_ms == pytest.approx(4.5)
    assert load.mean_ms == pytest.approx(4.5)


def test_a_grpc_error_which_h2load_calls_a_success_is_not_counted_as_an_answer() -> None:
    load = read_h2load(h2load_report(data=5 * RESPONSE_BYTES), H2LOAD_LOG, RESPONSE_BYTES)
    assert (load.answered, load.failed) == (5, 3)


def test_a_request_that_h2load_saw_fail_is_not_counted_though_it_brought_bytes() -> None:
    load = read_h2load(h2load_report(succeeded=6), H2LOAD_LOG, RESPONSE_BYTES)
    assert (load.answered, load.failed) == (6, 2)


def test_a_load_that_nobody_answered_has_no_latency() -> None:
    assert math.isnan(read_h2load(h2load_report(data=0), "", RESPONSE_BYTES).p50_ms)


def test_output_that_is_no_report_is_refused_with_the_output() -> None:
    with pytest.raises(LoadFailed, match="connection refused"):
        read_h2load("connection refused", "", RESPONSE_BYTES)
    with pytest.raises(LoadFailed, match="unable to connect"):
        read_wrk("unable to connect")


def test_the_report_of_wrk_is_understood_and_errors_are_no_answers() -> None:
    counts = {"requests": 100, "seconds": 2.0, "bytes": 9, "errors": 10}
    line = {**counts, "p50_us": 500, "p99_us": 900, "mean_us": 510.5}
    load = read_wrk("Running 2s test\n" + json.dumps(line))
    assert (load.answered, load.failed, load.rate) == (90, 10, 45.0)
    assert (load.p50_ms, load.p99_ms, load.mean_ms) == (0.5, 0.9, 0.5105)


@pytest.mark.parametrize(("concurrency", "expected"), [(1, (1, 1)), (8, (4, 2)), (64, (4, 16))])
def test_calls_in_flight_are_spread_over_few_connections(
    concurrency: int, expected: tuple[int, int]
) -> None:
    assert connections_of(concurrency) == expected


def test_both_forms_of_a_grpc_request_carry_the_same_floats() -> None:
    values = generate_input(TINY)
    for packed_values in (True, False):
        message = predict_request("tiny", "x", values, packed_values=packed_values)
        request = message_class("tensorflow.serving.PredictRequest")()
        request.ParseFromString(message)
        assert request.model_spec.name == "tiny"
        response = message_class("tensorflow.serving.PredictResponse")()
        response.outputs["y"].CopyFrom(request.inputs["x"])
        np.testing.assert_array_equal(floats_of_response(response.SerializeToString(), "y"), values)


def test_a_json_request_carries_exactly_the_floats_of_the_grpc_request() -> None:
    values = generate_input(TINY)
    instances = json.loads(rest_body(values))["instances"]
    np.testing.assert_array_equal(np.asarray(instances, np.float32), values)


def test_a_grpc_body_says_how_long_its_message_is() -> None:
    assert grpc_body(b"message") == struct.pack(">?I", False, 7) + b"message"


def test_the_figures_of_a_cell_are_medians_and_failures_add_up() -> None:
    measured = Cell("tiny", "gRPC", 8, "ours")
    for rate, failed in ((10.0, 1), (1000.0, 0), (20.0, 2)):
        measured.turns.append(Turn(rate, 1.0, 1.0, 1.0, 1.0, failed))
    summary = measured.as_json()
    others = {"p50_ms": 1.0, "p99_ms": 1.0, "mean_ms": 1.0, "client_cpu_us": 0.0}
    assert summary["median"] == {"rate": 20.0, "cpu_us": 1.0, **others}
    assert summary["failed"] == 3


def test_a_ratio_above_one_says_that_the_server_under_test_is_better() -> None:
    cells = [cell("ours", 60_000, 14), cell("theirs", 6_000, 210)]
    ours, theirs = load_rows(cells, "ours")
    assert (ours[5], ours[7]) == ("", "")
    assert (theirs[5], theirs[7]) == ("10 x", "15 x")


def test_a_server_is_compared_only_under_the_same_load() -> None:
    cells = [cell("ours", 60_000, 14), cell("theirs", 6_000, 210, concurrency=8)]
    assert [row[5] for row in load_rows(cells, "ours")] == ["", ""]


def test_tables_align_on_the_terminal_and_in_markdown() -> None:
    rows = [["ours", "60,000"], ["theirs", "9"]]
    assert as_text(["server", "rate"], rows).splitlines() == [
        "server    rate",
        "ours    60,000",
        "theirs       9",
    ]
    assert as_markdown(["server", "rate"], rows).splitlines()[:2] == [
        "| server | rate |",
        "| --- | ---: |",
    ]


def test_the_page_shows_the_chart_and_only_tables_that_have_rows() -> None:
    results = {
        "date": "2026-01-01",
        "machine": {"cores": "2"},
        "under_test": "ours",
        "quick": True,
        "cells": [cell("ours", 60_000, 14)],
        **{part: [] for part in ("loops", "starts", "pieces")},
    }
    text = page(results, "run.svg")
    assert "![Answers per second](run.svg)" in text
    assert "| tiny | gRPC | 64 | ours | 60,000 |" in text
    assert text.count("## ") == 1
    assert "the figures are rough" in text


def test_the_chart_is_svg_with_a_bar_for_each_server_in_proportion() -> None:
    drawing = draw([cell("ours", 60_000, 14), cell("theirs", 6_000, 210)], "ours")
    bars = [
        float(element.attrib["width"])
        for element in ElementTree.fromstring(drawing).iter("{http://www.w3.org/2000/svg}rect")
    ][1:]
    assert bars[0] == 10 * bars[1]


def test_the_chart_shows_the_highest_concurrency_only() -> None:
    drawing = draw([cell("ours", 1_000, 20, concurrency=1), cell("ours", 60_000, 14)], "ours")
    assert "64 at once" in drawing
    assert "1,000/s" not in drawing


@pytest.mark.parametrize(
    ("text", "name", "protocols"),
    [
        pytest.param("before=/x/salver serve --a=b", "before", {"grpc", "rest"}, id="both"),
        pytest.param("its name:grpc=/x/salver serve", "its name", {"grpc"}, id="one protocol"),
    ],
)
def test_a_server_to_compare_with_is_named_on_the_command_line(
    text: str, name: str, protocols: set[str]
) -> None:
    program = parse(["--server", text]).server
    assert program.name == name
    assert set(program.protocols) == protocols
    assert program.command[:2] == ("/x/salver", "serve")


@pytest.mark.parametrize("text", ["salver", "=salver serve", "name=", "name:smtp=salver serve"])
def test_a_server_without_name_command_or_known_protocol_is_refused(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(["--against", text])
    assert "is not NAME=COMMAND" in capsys.readouterr().err


def test_an_unknown_topic_is_refused_with_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--only", "tiny,huge"])
    assert "huge" in capsys.readouterr().err
