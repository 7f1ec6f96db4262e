"""What the end of a batch teaches those that come after it. Loop only."""

from time import perf_counter

from salver.execution.batch_run import BatchRun
from salver.execution.patience import WaitPace
from salver.execution.prepared import SURPRISE


class BatchLearning:
    """Tells of a batch to all that is learned of its queue, its program, and waits."""

    def __init__(self, inline_budget_s: float) -> None:
        """`inline_budget_s`: as of `BatchThreads`."""
        self._inline_budget_s = inline_budget_s
        self.pace = WaitPace()
        """How right expected waits turn out to be."""

    def learn(self, run: BatchRun, *, is_undisturbed: bool) -> None:
        """Take in a batch that has run; `is_undisturbed` if no other thread computed."""
        self._learn_cost(run, is_undisturbed)
        queue = run.batch.queue
        if queue.control is not None:
            self._learn_size(run)
            self._learn_wait(run)
        if queue.proof is not None and len(run.batch.entries) > 1:
            queue.is_unfit = queue.is_unfit or run.is_unfit
            queue.proof.ran(run.proved)
        _count(run)

    def _learn_cost(self, run: BatchRun, is_undisturbed: bool) -> None:
        executable = run.executable
        if run.is_threaded:
            executable.record_threaded(run.size_class, run.cpu_s, run.elapsed_s, run.has_failed)
            return
        budget_s, elapsed_s = self._inline_budget_s, run.held_s
        if not is_undisturbed:
            # As in `Runner.run`: a wait for the interpreter lock proves nothing.
            elapsed_s = min(elapsed_s, 2 * budget_s)
        executable.record_inline(run.size_class, elapsed_s, SURPRISE * budget_s, run.has_failed)

    def _learn_size(self, run: BatchRun) -> None:
        """Which sizes get through cheapest, and how batches are best formed."""
        queue, rows, entries = run.batch.queue, run.batch.rows, run.batch.entries
        assert queue.control is not None
        now = perf_counter()
        is_slow_start = False
        if run.is_mixed:
            queue.varies = True
        elif not run.has_failed:
            is_slow_start = queue.control.observe(rows, run.elapsed_s, run.cpu_s)
        queue.control.drained(rows, now, queue.rows > 0 or bool(queue.ahead))
        if len(entries) == 1 and not (queue.rows or queue.running):
            queue.lone_batches += 1
        else:
            queue.lone_batches = 0
        if queue.search is not None and is_slow_start:
            queue.search.was_disturbed(now)
        elif queue.search is not None:
            # Requests come evenly enough: the first and the last stand for all.
            came_at = (entries[0].added_at + entries[-1].added_at) / 2
            queue.search.ended(len(entries), rows, (now - came_at) * len(entries), now)

    def _learn_wait(self, run: BatchRun) -> None:
        for entry in (run.outcomes[0].entry, run.outcomes[-1].entry):
            if entry.expected_wait_s:
                self.pace.learn(run.taken_at - entry.added_at, entry.expected_wait_s)


def _count(run: BatchRun) -> None:
    totals = run.batch.queue.totals
    totals.batches += 1
    totals.requests += len(run.batch.entries)
    totals.rows += run.batch.rows
    totals.padding += sum(size - rows for rows, size in run.run_sizes)
    totals.wait_s += run.taken_at - run.batch.opened_at
    totals.apart += run.first_error is not None
