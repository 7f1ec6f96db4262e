"""Whether and how requests are batched: flags, the file of parameters, and those of a version.

Source: tensorflow_serving/servables/tensorflow/session_bundle_config.proto, and
bundle_factory_util.cc for what stands for an absent field.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace

from salver.codecs.messages import WireMessage
from salver.config.flags import Flags, schedulable_cpus
from salver.config.text_file import read_text_file
from salver.errors import InvalidArgument
from salver.execution.batch_options import BatchOptions, check_options

_PARAMETERS = "tensorflow.serving.BatchingParameters"
_FILE_OF_A_VERSION = "batching_params.pbtxt"
_PADDING = "pad_variable_length_inputs"
"""The one parameter that no measurement can find: whether a model knows what is filled up."""
_MOST_AUTOMATIC_ROWS = 1024
_MOST_AUTOMATIC_REQUESTS = 10_000


@dataclass(frozen=True, slots=True)
class BatchingSettings:
    """What the flags and their file say about batching."""

    options: BatchOptions | None = None
    """Those of every version that has none of its own; None: it is not batched."""
    per_model: bool = False
    """Whether versions bring their own parameters. Without, they are not batched, or
    automatically where `options` are."""
    threads: int = 0
    thread_pool_name: str = ""
    of_tables: BatchOptions | None = None
    """Those of versions whose rows do not depend on each other, in the place of no options."""

    @property
    def is_used(self) -> bool:
        """Whether any version may be batched."""
        return self.per_model or self.options is not None or self.of_tables is not None

    def of_version(self, path: str, is_table: Callable[[], bool]) -> BatchOptions | None:
        """The options of the version in the folder `path`. From any thread.

        Args:
            path: of a local folder.
            is_table: tells whether rows of its inputs surely do not depend on each other.

        Raises:
            InvalidArgument: no queue can be made of them, or the version's file is wrong.
        """
        options = self.options
        if options is None and not self.per_model:
            return self.of_tables if self.of_tables is not None and is_table() else None
        if self.per_model:
            automatic = options if options is not None and options.is_automatic else None
            file = os.path.join(path, _FILE_OF_A_VERSION)
            if not os.path.exists(file):
                return automatic
            if automatic is not None:
                return _with_padding(automatic, file)
            options = _options(read_text_file(file, _PARAMETERS))
        if options is not None:
            check_options(options)
        return options


def batching_settings(flags: Flags, given: WireMessage | None = None) -> BatchingSettings:
    """Read the flags and the parameters, `given` or in a file.

    What is wrong with a queue shows when a version is loaded.

    Raises:
        ServingError: the flags contradict each other, the file cannot be read, or a number in it
            makes no sense.
    """
    if flags.batching not in ("off", "tables", "auto"):
        raise InvalidArgument(f"--batching must be off, tables or auto; got {flags.batching}")
    file = flags.batching_parameters_file
    if file and not flags.enable_batching and flags.batching != "auto":
        raise InvalidArgument(
            "server_options.batching_parameters_file is set without setting "
            "server_options.enable_batching to true."
        )
    if flags.batching == "auto":
        options = _automatic(flags)
        return BatchingSettings(
            _with_padding(options, file) if file else options,
            flags.enable_per_model_batching_parameters,
            _automatic_threads(),
            "batch_threads",
        )
    if not flags.enable_batching:
        if flags.batching == "off":
            return BatchingSettings()
        return BatchingSettings(
            threads=_automatic_threads(),
            thread_pool_name="batch_threads",
            of_tables=_automatic(flags),
        )
    per_model = flags.enable_per_model_batching_parameters
    if given is not None:
        return _of_message(given, per_model)
    if file:
        return _of_message(read_text_file(file, _PARAMETERS), per_model)
    return BatchingSettings(
        BatchOptions(), per_model, schedulable_cpus(), "model_server_batch_threads"
    )


def _automatic_threads() -> int:
    # More than processors: where one waits for the loop to have its turn, another computes.
    return 2 * schedulable_cpus()


def _automatic(flags: Flags) -> BatchOptions:
    return BatchOptions(
        max_batch_size=_MOST_AUTOMATIC_ROWS,
        max_execution_batch_size=_MOST_AUTOMATIC_ROWS,
        # Batches hold a request at least: it is the requests that are counted, as without batching.
        max_enqueued_batches=_MOST_AUTOMATIC_REQUESTS,
        max_enqueued_requests=_MOST_AUTOMATIC_REQUESTS,
        is_automatic=True,
        latency_target_s=flags.batching_latency_target_ms / 1e3,
    )


def _with_padding(options: BatchOptions, file: str) -> BatchOptions:
    """Automatic options that pad if the file says so, which must not say anything else.

    Raises:
        ServingError: it does, or it cannot be read.
    """
    parameters = read_text_file(file, _PARAMETERS)
    others = [field.name for field, _ in parameters.ListFields() if field.name != _PADDING]
    if others:
        raise InvalidArgument(
            f"{file} sets {', '.join(others)}, which --batching=auto finds by itself: with it, "
            f"batching parameters may only say {_PADDING}. Leave out those, or --batching=auto"
        )
    return replace(options, pad_variable_length_inputs=parameters.pad_variable_length_inputs)


def _of_message(parameters: WireMessage, per_model: bool) -> BatchingSettings:
    threads = schedulable_cpus()
    if parameters.HasField("num_batch_threads"):
        threads = parameters.num_batch_threads.value
    if threads < 1:
        raise InvalidArgument(f"num_batch_threads must be positive; was {threads}")
    options = _options(parameters)
    if not per_model:
        _check_at_start(options)
    name = parameters.thread_pool_name.value or "batch_threads"
    return BatchingSettings(options, per_model, threads, name)


def _check_at_start(options: BatchOptions) -> None:
    """Say at once what ends the original by a signal; the rest is an error of each load."""
    if options.max_batch_size < 1:
        raise InvalidArgument(f"max_batch_size must be positive; was {options.max_batch_size}")
    if options.batch_timeout_s < 0:
        micros = round(options.batch_timeout_s * 1e6)
        raise InvalidArgument(f"batch_timeout_micros must be non-negative; was {micros}")
    if options.max_execution_batch_size > options.max_batch_size:
        raise InvalidArgument(
            f"max_execution_batch_size ({options.max_execution_batch_size}) must not be larger "
            f"than max_batch_size ({options.max_batch_size})"
        )


def _options(parameters: WireMessage) -> BatchOptions:
    default = BatchOptions()
    most = default.max_batch_size
    if parameters.HasField("max_batch_size"):
        most = parameters.max_batch_size.value
    splits = parameters.enable_large_batch_splitting.value
    at_once = most
    if splits and parameters.HasField("max_execution_batch_size"):
        at_once = parameters.max_execution_batch_size.value
    enqueued = default.max_enqueued_batches
    if parameters.HasField("max_enqueued_batches"):
        # Less than none is none, with which the original starts.
        enqueued = max(parameters.max_enqueued_batches.value, 0)
    return BatchOptions(
        max_batch_size=most,
        batch_timeout_s=parameters.batch_timeout_micros.value / 1e6,
        max_enqueued_batches=enqueued,
        allowed_batch_sizes=tuple(parameters.allowed_batch_sizes),
        pad_variable_length_inputs=parameters.pad_variable_length_inputs,
        enable_large_batch_splitting=splits,
        max_execution_batch_size=at_once,
    )
