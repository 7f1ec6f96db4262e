import copy
import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from salver.cli.explain_batching import lines_of
from salver.cli.main import main

QUEUE: dict[str, Any] = {
    "signatures": ["serving_default"],
    "automatic": False,
    "max_batch_size": 64,
    "max_execution_batch_size": 64,
    "batch_timeout_micros": 2000,
    "max_enqueued_batches": 10,
    "allowed_batch_sizes": [8, 64],
    "waiting_rows": 5,
    "waiting_batches": 1,
    "cannot_be_batched": False,
    "requests_alone": 3,
    "requests_in_batches": 40,
    "batches": 10,
    "rows": 80,
    "padding_rows": 7,
    "wait_seconds": 0.02,
    "batches_run_apart": 2,
    "requests_refused": 9,
}
AUTOMATIC = {
    **QUEUE,
    "automatic": True,
    "largest_batch": 16,
    "larger_did_not_pay": True,
    "latency_target_seconds": 0.002,
    "costs": [
        {"rows": 1, "to_rows": 1, "batches": 4, "seconds_per_row": 0.001},
        {"rows": 20, "to_rows": 23, "batches": 90, "seconds_per_row": 0.00025},
    ],
}


def screen(**changes: Any) -> str:
    queue = {**(AUTOMATIC if changes.get("automatic") else QUEUE), **changes}
    report = {"model": "m", "version": "7", "batch_threads": 2, "queues": [queue]}
    return "\n".join(lines_of(report))


def test_it_tells_what_waits_what_was_run_and_by_which_rule() -> None:
    text = screen()
    assert "Model m, version 7" in text
    assert "5 rows wait in 1 batches" in text
    assert "40 requests in 10 batches of 8.0 rows on average, after 2.00 ms" in text
    assert "up to 64 rows, after 2000 us at the latest; 10 batches may wait" in text
    assert "filled up to 8, 64 rows" in text
    assert "2 batches failed and were run apart" in text
    assert "9 requests refused" in text


def test_of_an_automatic_queue_it_tells_the_costs_behind_the_choice() -> None:
    text = screen(automatic=True)
    assert "takes what waits, 16 rows if it can" in text
    assert "larger batches were tried, and their rows cost no less" in text
    assert "longer than 2.00 ms" in text
    assert "1 rows:   1,000.0 us a row,       1,000 rows/s" in text
    assert "20 to 23 rows:     250.0 us a row,       4,000 rows/s" in text


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"cannot_be_batched": True}, "a row's outputs are not in a batch what they are alone"),
        ({"pads_lengths": True}, "; filled up to the longest of them"),
        ({"automatic": True, "pads_lengths": True}, "those about as long as the oldest"),
        ({"batches": 0}, "no batch yet; 3 requests ran in none"),
        ({"automatic": True, "costs": []}, "nothing is measured yet"),
        ({"automatic": True, "larger_did_not_pay": False}, "larger batches are tried as soon"),
        (
            {"automatic": True, "runs_at_once": True},
            "what comes in one turn of the event loop runs at once, as one",
        ),
        ({"automatic": True, "runs_at_once": True}, "took too little time"),
        ({"automatic": True, "rows_at_most": 1}, "each request runs alone, as without"),
        (
            {"automatic": True, "rows_at_most": 8, "gathers": True, "gathering_seconds": 0.0047},
            "a batch of 8 rows is waited for, 4.7 ms at the most",
        ),
    ],
)
def test_it_says_why(changes: dict[str, Any], line: str) -> None:
    assert line in screen(**changes)


def test_what_is_not_batched_is_said_with_what_to_do() -> None:
    report = {"model": "m", "version": "7", "batch_threads": 2, "queues": []}
    assert "--batching=auto" in "\n".join(lines_of(report))


class Pages(http.server.BaseHTTPRequestHandler):
    """Answers as the test says, by path."""

    answers: dict[str, tuple[int, bytes]] = {}  # noqa: RUF012

    def do_GET(self) -> None:
        status, body = self.answers.get(self.path, (404, b"<html></html>"))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Pages)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_it_asks_the_server_for_any_name_of_a_model(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    report = {"model": "a/b", "version": "7", "batch_threads": 2, "queues": [copy.copy(QUEUE)]}
    body = json.dumps(report).encode()
    Pages.answers = {"/salver/models/a%2Fb/batching": (200, body)}
    assert main(["explain-batching", url, "a/b"]) == 0
    assert "Model a/b, version 7" in capsys.readouterr().out
    assert main(["explain-batching", url.removeprefix("http://"), "a/b", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == report


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((404, b'{"error": "Servable not found for request: Latest(m)"}'), "Servable not found"),
        ((404, b"<html></html>"), "is it Salver's REST port?"),
        ((200, b"[]"), "does not answer like a Salver server"),
        ((200, b"{"), "does not answer like a Salver server"),
    ],
)
def test_what_goes_wrong_is_one_line(
    url: str, answer: tuple[int, bytes], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Pages.answers = {"/salver/models/m/batching": answer}
    assert main(["explain-batching", url, "m"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert error in line


def test_a_server_that_is_not_there_and_a_wrong_use_are_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["explain-batching", "127.0.0.1:1", "m"]) == 1
    assert "refused" in capsys.readouterr().err
    assert main(["explain-batching"]) == 2
    assert main(["explain-batching", "--help"]) == 0
