"""How TensorFlow runs graphs: the session config of every model, from flags and file."""

import logging
from dataclasses import dataclass

from salver.codecs.messages import WireMessage, message_class
from salver.config.flags import Flags
from salver.config.text_file import read_text_file
from salver.errors import InvalidArgument

logger = logging.getLogger(__name__)

_CONFIG_PROTO = "tensorflow.ConfigProto"
_INT32_MAX = 2**31 - 1
_ON = 1  # of RewriterConfig.Toggle


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """What a backend for TensorFlow needs to know."""

    config_proto: bytes
    """A serialized `tensorflow.ConfigProto`, the thread counts below included."""
    intra_op_threads: int
    """Threads within one operation; 0: the server chooses."""
    inter_op_threads: int
    """Threads across the operations of one run; 0: the server chooses."""


def session_settings(flags: Flags) -> SessionSettings:
    """Lay the flags over the session config file.

    The flags always win, also where they are not given: the file's thread counts
    and its share of GPU memory never count.

    Raises:
        ServingError: the file cannot be read, or the flags contradict each other.
    """
    if flags.tensorflow_session_config_file:
        config = read_text_file(flags.tensorflow_session_config_file, _CONFIG_PROTO)
    else:
        config = message_class(_CONFIG_PROTO)()
    config.gpu_options.per_process_gpu_memory_fraction = flags.per_process_gpu_memory_fraction
    intra, inter = thread_counts(flags)
    config.intra_op_parallelism_threads = intra
    config.inter_op_parallelism_threads = inter
    return session_settings_of(config, flags.mixed_precision)


def session_settings_of(config: WireMessage, mixed_precision: str) -> SessionSettings:
    """The same from a whole `tensorflow.ConfigProto`, which says everything itself."""
    if mixed_precision == "bfloat16":
        rewrites = config.graph_options.rewrite_options
        rewrites.auto_mixed_precision_onednn_bfloat16 = _ON
    elif mixed_precision:
        logger.warning(
            "--mixed_precision=%s has no effect: bfloat16 is the only choice", mixed_precision
        )
    return SessionSettings(
        config.SerializeToString(deterministic=True),
        config.intra_op_parallelism_threads,
        config.inter_op_parallelism_threads,
    )


def thread_counts(flags: Flags) -> tuple[int, int]:
    """Threads within and across operations.

    Raises:
        InvalidArgument: all three flags are set, or one is beyond 32 bits.
    """
    session = flags.tensorflow_session_parallelism
    intra = flags.tensorflow_intra_op_parallelism
    inter = flags.tensorflow_inter_op_parallelism
    if session > 0 and intra > 0 and inter > 0:
        raise InvalidArgument(
            "Either configure server_options.tensorflow_session_parallelism or "
            "(server_options.tensorflow_intra_op_parallelism, "
            "server_options.tensorflow_inter_op_parallelism) separately. "
            "You cannot configure all."
        )
    if intra <= 0 and inter <= 0:
        intra = inter = session
    for threads in (intra, inter):
        if not -_INT32_MAX <= threads <= _INT32_MAX:
            raise InvalidArgument(
                f"The flags of parallelism take at most {_INT32_MAX} threads; got {threads}"
            )
    return intra, inter
