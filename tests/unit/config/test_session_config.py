from pathlib import Path

import pytest

from salver.codecs.messages import WireMessage, message_class
from salver.config.flags import Flags
from salver.config.session_config import SessionSettings, session_settings
from salver.errors import InvalidArgument


def proto_of(settings: SessionSettings) -> WireMessage:
    message = message_class("tensorflow.ConfigProto")()
    message.ParseFromString(settings.config_proto)
    return message


@pytest.mark.parametrize(
    ("session", "intra", "inter", "expected"),
    [
        pytest.param(0, 0, 0, (0, 0), id="nothing: the server chooses"),
        pytest.param(4, 0, 0, (4, 4), id="session: both"),
        pytest.param(0, 3, 2, (3, 2), id="intra and inter"),
        pytest.param(0, 3, 0, (3, 0), id="intra alone"),
        pytest.param(0, 0, 2, (0, 2), id="inter alone"),
        pytest.param(4, 3, 0, (3, 0), id="intra beats session"),
        pytest.param(4, 0, 2, (0, 2), id="inter beats session"),
        pytest.param(4, -1, 2, (-1, 2), id="one of the two is enough"),
        pytest.param(4, -1, -1, (4, 4), id="negative ones do not count"),
    ],
)
def test_which_thread_counts_win(
    session: int, intra: int, inter: int, expected: tuple[int, int]
) -> None:
    settings = session_settings(
        Flags(
            tensorflow_session_parallelism=session,
            tensorflow_intra_op_parallelism=intra,
            tensorflow_inter_op_parallelism=inter,
        )
    )
    assert (settings.intra_op_threads, settings.inter_op_threads) == expected
    proto = proto_of(settings)
    assert (proto.intra_op_parallelism_threads, proto.inter_op_parallelism_threads) == expected


def test_all_three_together_are_refused() -> None:
    flags = Flags(
        tensorflow_session_parallelism=1,
        tensorflow_intra_op_parallelism=1,
        tensorflow_inter_op_parallelism=1,
    )
    with pytest.raises(InvalidArgument) as caught:
        session_settings(flags)
    assert caught.value.message == (
        "Either configure server_options.tensorflow_session_parallelism or "
        "(server_options.tensorflow_intra_op_parallelism, "
        "server_options.tensorflow_inter_op_parallelism) separately. You cannot configure all."
    )


def test_a_thread_count_beyond_32_bits_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="at most 2147483647 threads; got 4294967296"):
        session_settings(Flags(tensorflow_session_parallelism=2**32))


def test_the_file_counts_except_for_threads_and_gpu_memory(tmp_path: Path) -> None:
    path = tmp_path / "session.config"
    path.write_text("""
        allow_soft_placement: true
        intra_op_parallelism_threads: 7
        inter_op_parallelism_threads: 8
        gpu_options { per_process_gpu_memory_fraction: 0.9 allow_growth: true }
    """)
    settings = session_settings(
        Flags(tensorflow_session_config_file=str(path), per_process_gpu_memory_fraction=0.25)
    )
    proto = proto_of(settings)
    assert proto.allow_soft_placement is True
    assert proto.gpu_options.allow_growth is True
    assert proto.gpu_options.per_process_gpu_memory_fraction == 0.25
    assert (proto.intra_op_parallelism_threads, proto.inter_op_parallelism_threads) == (0, 0)
    assert (settings.intra_op_threads, settings.inter_op_threads) == (0, 0)


def test_a_bad_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "session.config"
    path.write_text("no_such_field: 1")
    with pytest.raises(InvalidArgument, match="Invalid protobuf file"):
        session_settings(Flags(tensorflow_session_config_file=str(path)))
