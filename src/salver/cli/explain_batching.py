"""`salver explain-batching URL MODEL`: what the scheduler of a running server does, and why."""

import argparse
import json
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any

FAILED = 1
WRONG_USE = 2
_TIMEOUT_S = 10.0


def explain_batching(program: str, arguments: Sequence[str]) -> int:
    """Ask the server and print one screen; the exit code."""
    parser = argparse.ArgumentParser(prog=program, description=__doc__)
    parser.add_argument("url", help="the server's REST address, http://localhost:8501")
    parser.add_argument("model", help="the model's name")
    parser.add_argument("--json", action="store_true", help="print what the server answers")
    try:
        options = parser.parse_args(arguments)
    except SystemExit as end:
        return WRONG_USE if end.code else 0
    try:
        report = fetch(options.url, options.model)
    except (OSError, ValueError) as error:
        print(f"{program}: {_reason(error)}", file=sys.stderr)
        return FAILED
    print(json.dumps(report, indent=2) if options.json else "\n".join(lines_of(report)))
    return 0


def fetch(url: str, model: str) -> dict[str, Any]:
    """The server's own account of a model's batching.

    Raises:
        OSError: the server cannot be reached, or refuses.
        ValueError: that is no such server.
    """
    base = url if "://" in url else f"http://{url}"
    address = f"{base.rstrip('/')}/salver/models/{urllib.parse.quote(model, safe='')}/batching"
    with urllib.request.urlopen(address, timeout=_TIMEOUT_S) as answer:
        report = json.load(answer)
    if not isinstance(report, dict) or "queues" not in report:
        raise ValueError(f"{address} does not answer like a Salver server")
    return report


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        try:
            return str(json.load(error)["error"])
        except (ValueError, KeyError, TypeError):
            return f"{error.url} answers {error.code} {error.reason}: is it Salver's REST port?"
    return str(error)


def lines_of(report: dict[str, Any]) -> Iterator[str]:
    """The screen, from what `fetch` returned."""
    yield f"Model {report['model']}, version {report['version']}"
    if not report["queues"]:
        yield "  Not batched: each request runs alone. --batching=auto or --enable_batching"
        yield "  turns batching on; of itself it only takes signatures whose tensors all have"
        yield "  an open first dimension."
        return
    yield f"  {report['batch_threads']} batch threads, shared by all models"
    for queue in report["queues"]:
        yield ""
        yield from _queue_lines(queue)


def _queue_lines(queue: dict[str, Any]) -> Iterator[str]:
    names = ", ".join(queue["signatures"]) or "a choice of outputs"
    yield f"Queue of {names}"
    yield f"  now       {queue['waiting_rows']} rows wait in {queue['waiting_batches']} batches"
    yield f"  so far    {_so_far(queue)}"
    if queue["batches_run_apart"]:
        yield f"            {queue['batches_run_apart']} batches failed and were run apart"
    if queue["requests_refused"]:
        yield f"            {queue['requests_refused']} requests refused: the queue was full"
    yield f"  rule      {_rule(queue)}"
    yield f"  why       {_why(queue)}"
    for cost in queue.get("costs", ()):
        first, last = cost["rows"], cost["to_rows"]
        size = f"{first}" if first == last else f"{first} to {last}"
        per_second = 1 / cost["seconds_per_row"] if cost["seconds_per_row"] else 0.0
        yield (
            f"            {size:>12} rows: {cost['seconds_per_row'] * 1e6:9,.1f} us a row, "
            f"{per_second:11,.0f} rows/s a thread ({cost['batches']} batches)"
        )


def _so_far(queue: dict[str, Any]) -> str:
    batches = queue["batches"]
    if not batches:
        return f"no batch yet; {queue['requests_alone']} requests ran alone, at once"
    return (
        f"{queue['requests_in_batches']} requests in {batches} batches of "
        f"{queue['rows'] / batches:.1f} rows on average, after {_milliseconds(queue)} in the "
        f"queue; {queue['padding_rows']} rows of padding; {queue['requests_alone']} ran alone, "
        "at once"
    )


def _milliseconds(queue: dict[str, Any]) -> str:
    return f"{1e3 * queue['wait_seconds'] / queue['batches']:.2f} ms"


def _rule(queue: dict[str, Any]) -> str:
    if queue["automatic"]:
        rule = f"an idle thread takes what waits, {queue['largest_batch']} rows if it can"
        width = queue.get("side_by_side")
        return rule if width is None else f"{rule}; {width} such batches at a time"
    sizes = queue["allowed_batch_sizes"]
    rule = (
        f"up to {queue['max_execution_batch_size']} rows, after "
        f"{queue['batch_timeout_micros']} us at the latest; {queue['max_enqueued_batches']} "
        "batches may wait"
    )
    return f"{rule}; filled up to {', '.join(map(str, sizes))} rows" if sizes else rule


def _why(queue: dict[str, Any]) -> str:
    if queue["cannot_be_batched"]:
        return "its outputs have not one row for each row of its inputs: requests run alone"
    if not queue["automatic"]:
        return "the parameters say so (--batching_parameters_file, or the version's own)"
    if not queue["costs"]:
        return "nothing is measured yet: sizes are tried when requests wait"
    target = queue["latency_target_seconds"]
    shared = (
        ""
        if target is None
        else (f"; idle threads share what would take longer than {1e3 * target:.2f} ms")
    )
    if queue["larger_did_not_pay"]:
        return f"larger batches were tried, and their rows cost no less{shared}"
    return f"larger batches are tried as soon as more requests wait{shared}"
