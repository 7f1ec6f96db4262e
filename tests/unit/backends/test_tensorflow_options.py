import pytest

from salver.backends.tensorflow import TensorFlowOptions
from salver.codecs.messages import message_class

ConfigProto = message_class("tensorflow.ConfigProto")


def test_one_thread_shares_the_work_of_an_operation_by_default() -> None:
    config = ConfigProto.FromString(TensorFlowOptions().config())

    assert config.intra_op_parallelism_threads == 1
    assert config.inter_op_parallelism_threads == 0


def test_options_overrule_the_session_config_and_keep_the_rest() -> None:
    given = ConfigProto(
        intra_op_parallelism_threads=9, inter_op_parallelism_threads=9, allow_soft_placement=True
    )
    given.gpu_options.per_process_gpu_memory_fraction = 0.9
    options = TensorFlowOptions(
        session_config=given.SerializeToString(),
        intra_op_threads=2,
        inter_op_threads=300,
    )

    config = ConfigProto.FromString(options.config())

    assert config.intra_op_parallelism_threads == 2
    assert config.inter_op_parallelism_threads == 300
    assert config.allow_soft_placement
    assert config.gpu_options.per_process_gpu_memory_fraction == 0.9


@pytest.mark.parametrize("threads", [0, -1, -(2**31)])
def test_less_than_one_thread_leaves_the_choice_to_tensorflow(threads: int) -> None:
    options = TensorFlowOptions(intra_op_threads=threads, inter_op_threads=threads)

    config = ConfigProto.FromString(options.config())

    assert config.intra_op_parallelism_threads == 0
    assert config.inter_op_parallelism_threads == 0
