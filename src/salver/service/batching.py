"""How the requests of a model are batched now, and why: for people, and for `explain-batching`."""

from typing import Any

from salver.execution.batch_queue import BatchQueue
from salver.execution.prepared import PreparedServable
from salver.service.opening import Opening


class Batching:
    """The use case. Loop only."""

    def __init__(self, opening: Opening, threads: int) -> None:
        self._opening = opening
        self._threads = threads

    def of(self, model: str) -> dict[str, Any]:
        """What there is to know of the latest version's queues; names as in the JSON answer.

        Raises:
            NotFound: the model is not available.
        """
        handle = self._opening.open(model, None, None)
        try:
            servable = handle.servable
            return {
                "model": handle.id.name,
                "version": str(handle.id.version),
                "batch_threads": servable.lane.places if servable.lane else self._threads,
                "queues": [_described(queue, servable) for queue in servable.queues],
            }
        finally:
            handle.release()


def _described(queue: BatchQueue, servable: PreparedServable) -> dict[str, Any]:
    options, totals = queue.options, queue.totals
    signatures = [
        name for name, prepared in servable.signatures.items() if prepared.executable.queue is queue
    ]
    described: dict[str, Any] = {
        "signatures": sorted(signatures),
        "automatic": options.is_automatic,
        "max_batch_size": options.max_batch_size,
        "max_execution_batch_size": options.max_execution_batch_size,
        "batch_timeout_micros": round(options.batch_timeout_s * 1e6),
        "max_enqueued_batches": options.max_enqueued_batches,
        "allowed_batch_sizes": list(options.allowed_batch_sizes),
        "pads_lengths": options.pad_variable_length_inputs,
        "waiting_rows": queue.rows,
        "waiting_batches": queue.batches if queue.rows else 0,
        "cannot_be_batched": queue.is_unfit or queue.feeds_twice,
        "requests_alone": totals.alone,
        "requests_in_batches": totals.requests,
        "batches": totals.batches,
        "rows": totals.rows,
        "padding_rows": totals.padding,
        "wait_seconds": totals.wait_s,
        "batches_run_apart": totals.apart,
        "requests_refused": totals.refused,
    }
    if queue.control is not None:
        described["largest_batch"] = queue.control.best
        described["larger_did_not_pay"] = queue.control.larger_lost
        described["latency_target_seconds"] = queue.control.target_s
        described["runs_at_once"] = queue.ran_at_once
        if queue.search is not None:
            best = queue.search.best
            described["side_by_side"] = best.width
            described["rows_at_most"] = best.rows
            described["gathers"] = best.gathers
            described["gathering_seconds"] = queue.control.gathering_s
        described["costs"] = [
            {
                "rows": cost.rows,
                "to_rows": cost.to_rows,
                "batches": cost.batches,
                "seconds_per_row": cost.cost_s,
            }
            for cost in queue.control.costs
        ]
    return described
