"""`salver explain-batching URL MODEL`: what the scheduler of a running server does, and why."""

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any

from salver.cli.command_line import DONE, ArgumentParser
from salver.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ServingError,
    Unavailable,
)

_TIMEOUT_S = 10.0


def explain_batching(program: str, arguments: Sequence[str]) -> int:
    """Ask the server and print one screen; the exit code."""
    parser = ArgumentParser(program, __doc__)
    add = parser.add_argument
    add("address", nargs="?", metavar="URL", help="the server's REST address")
    add("name", nargs="?", metavar="MODEL", help="the model's name")
    add("--url", help="the server, if not by its place: http://localhost:8501")
    add("--model", metavar="NAME", help="the model, if not by its place")
    add("--json", action="store_true", help="print what the server answers")
    options = parser.parse_args(arguments)
    url, model = options.url or options.address, options.model or options.name
    if not url or not model:
        raise InvalidArgument("name a server and a model: http://localhost:8501 my_model")
    report = fetch(url, model)
    print(json.dumps(report, indent=2) if options.json else "\n".join(lines_of(report)))
    return DONE


def fetch(url: str, model: str) -> dict[str, Any]:
    """The server's own account of a model's batching.

    Raises:
        ServingError: the server cannot be reached, or refuses, or is none of ours.
    """
    base = url if "://" in url else f"http://{url}"
    if not base.startswith(("http://", "https://")):
        raise InvalidArgument(f"{url!r} is no REST address, such as http://localhost:8501")
    address = f"{base.rstrip('/')}/salver/models/{urllib.parse.quote(model, safe='')}/batching"
    try:
        with urllib.request.urlopen(address, timeout=_TIMEOUT_S) as answer:
            report = json.load(answer)
    except urllib.error.HTTPError as error:
        raise _refused(error) from error
    except (http.client.HTTPException, urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        text = getattr(reason, "strerror", None) or str(reason)
        raise Unavailable(f"{url} cannot be reached: {text}") from error
    except ValueError as error:
        raise FailedPrecondition(f"{address} does not answer like a Salver server") from error
    if not isinstance(report, dict) or "queues" not in report:
        raise FailedPrecondition(f"{address} does not answer like a Salver server")
    return report


def _refused(error: urllib.error.HTTPError) -> ServingError:
    try:
        text = str(json.load(error)["error"])
    except (ValueError, KeyError, TypeError):
        return FailedPrecondition(
            f"{error.url} answers {error.code} {error.reason}: is it Salver's REST port?"
        )
    return NotFound(text) if error.code == 404 else FailedPrecondition(text)


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
        return f"no batch yet; {queue['requests_alone']} requests ran in none"
    return (
        f"{queue['requests_in_batches']} requests in {batches} batches of "
        f"{queue['rows'] / batches:.1f} rows on average, after {_milliseconds(queue)} in the "
        f"queue; {queue['padding_rows']} rows of padding; {queue['requests_alone']} ran in "
        "none"
    )


def _milliseconds(queue: dict[str, Any]) -> str:
    return f"{1e3 * queue['wait_seconds'] / queue['batches']:.2f} ms"


def _rule(queue: dict[str, Any]) -> str:
    if queue["automatic"]:
        if queue.get("runs_at_once"):
            return "what comes in one turn of the event loop runs at once, as one"
        rows = queue.get("rows_at_most") or queue["largest_batch"]
        rule = f"an idle thread takes what waits, {rows} rows if it can"
        if queue.get("gathers"):
            most = f"{1e3 * queue['gathering_seconds']:.2g} ms"
            rule = f"a batch of {rows} rows is waited for, {most} at the most"
        if queue.get("rows_at_most") == 1:
            return "each request runs alone, as without batching"
        if queue.get("pads_lengths"):
            rule += ", first of those about as long as the oldest"
        width = queue.get("side_by_side")
        return rule if width is None else f"{rule}; {width} such batches at a time"
    sizes = queue["allowed_batch_sizes"]
    rule = (
        f"up to {queue['max_execution_batch_size']} rows, after "
        f"{queue['batch_timeout_micros']} us at the latest; {queue['max_enqueued_batches']} "
        "batches may wait"
    )
    if queue.get("pads_lengths"):
        rule += "; filled up to the longest of them"
    return f"{rule}; filled up to {', '.join(map(str, sizes))} rows" if sizes else rule


def _why(queue: dict[str, Any]) -> str:
    if queue["cannot_be_batched"]:
        return "a row's outputs are not in a batch what they are alone: requests run alone"
    if not queue["automatic"]:
        return "the parameters say so (--batching_parameters_file, or the version's own)"
    if queue.get("runs_at_once"):
        return "the last ones took too little time for it to be worth waiting in a queue"
    if not queue["costs"]:
        return "nothing is measured yet: sizes are tried when requests wait"
    target = queue["latency_target_seconds"]
    shared = (
        ""
        if target is None
        else (f"; idle threads share what would take longer than {1e3 * target:.2f} ms")
    )
    if queue.get("rows_at_most"):
        return "requests were answered sooner so, under a load like this, than with other sizes"
    if queue["larger_did_not_pay"]:
        return f"larger batches were tried, and their rows cost no less{shared}"
    return f"larger batches are tried as soon as more requests wait{shared}"
