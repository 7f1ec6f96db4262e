"""How requests of one version are put together.

Names, limits and texts are those of TensorFlow Serving (session_bundle_config.proto,
batching_session.cc, shared_batch_scheduler.h).
"""

from dataclasses import dataclass

from salver.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """The parameters of one version's queues."""

    max_batch_size: int = 1000
    """Rows of a batch, and of one request, at the most."""
    batch_timeout_s: float = 0.0
    """The longest wait of a batch that is not full, while threads are idle."""
    max_enqueued_batches: int = 10
    """Batches that may wait, the open one included; further requests are refused."""
    allowed_batch_sizes: tuple[int, ...] = ()
    """Batches are filled up to the first of these that is large enough; none: to no size."""
    pad_variable_length_inputs: bool = False
    """Whether requests that differ in other dimensions than the first are padded to fit."""
    enable_large_batch_splitting: bool = False
    """Whether a request may be run in pieces of `max_execution_batch_size`."""
    max_execution_batch_size: int = 1000
    """Rows of a batch; `max_batch_size` unless large requests are split."""
    is_automatic: bool = False
    """Whether measured cost rather than these numbers says how large a batch becomes."""
    latency_target_s: float = 0.0
    """Of an automatic queue: how long a batch may take before idle threads share it; 0: by cost."""
    max_enqueued_requests: int = 0
    """Requests that may wait, whatever their size; 0: as many as the batches hold."""

    def padded_size(self, rows: int) -> int:
        """How many rows are run for so many."""
        return next((size for size in self.allowed_batch_sizes if size >= rows), rows)


def check_options(options: BatchOptions) -> None:
    """Refuse parameters that no queue can be made of.

    Raises:
        InvalidArgument: with the original's text.
    """
    if options.max_batch_size <= 0:
        raise InvalidArgument(
            f"input_batch_size_limit must be positive; was {options.max_batch_size}"
        )
    if options.batch_timeout_s < 0:
        micros = round(options.batch_timeout_s * 1e6)
        raise InvalidArgument(f"batch_timeout_micros must be non-negative; was {micros}")
    if options.max_enqueued_batches < 0:
        raise InvalidArgument(
            f"max_enqueued_batches must be positive; was {options.max_enqueued_batches}"
        )
    if options.max_execution_batch_size <= 0:
        raise InvalidArgument(
            f"max_execution_batch_size must be positive; was {options.max_execution_batch_size}"
        )
    if options.max_batch_size < options.max_execution_batch_size:
        raise InvalidArgument(
            "When enable_large_batch_splitting is true, input_batch_size_limit must be greater "
            f"than or equal to max_execution_batch_size.{options.enable_large_batch_splitting:d}"
            f"{options.max_batch_size}{options.max_execution_batch_size}"
        )
    sizes = options.allowed_batch_sizes
    if sizes and sizes[-1] != options.max_batch_size:
        raise InvalidArgument(
            "Last entry in allowed_batch_sizes must match max_batch_size; "
            f"last entry was {sizes[-1]}; expected {options.max_batch_size}"
        )
