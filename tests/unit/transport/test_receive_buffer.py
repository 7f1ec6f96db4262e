from salver.transport.receive_buffer import ReceiveBuffer

LONG_S, MEDIUM_S, SHORT_S = 2e-3, 0.5e-3, 0.1e-3
MOST, FEWEST = 256 * 1024, 16 * 1024


def test_what_takes_long_is_read_in_smaller_pieces_down_to_a_size() -> None:
    buffer = ReceiveBuffer()
    assert len(buffer.room) == MOST
    assert buffer.is_long(LONG_S)
    assert len(buffer.room) == MOST // 2
    for _ in range(10):
        assert buffer.is_long(LONG_S)
    assert len(buffer.room) == FEWEST


def test_what_takes_next_to_no_time_is_read_in_larger_pieces_up_to_a_size() -> None:
    buffer = ReceiveBuffer()
    for _ in range(10):
        buffer.is_long(LONG_S)
    assert not buffer.is_long(SHORT_S)
    assert len(buffer.room) == 2 * FEWEST
    for _ in range(10):
        assert not buffer.is_long(SHORT_S)
    assert len(buffer.room) == MOST


def test_what_is_neither_long_nor_short_changes_nothing() -> None:
    buffer = ReceiveBuffer()
    buffer.is_long(LONG_S)
    assert not buffer.is_long(MEDIUM_S)
    assert len(buffer.room) == MOST // 2


def test_all_pieces_are_the_same_memory() -> None:
    buffer = ReceiveBuffer()
    whole = buffer.room
    buffer.is_long(LONG_S)
    buffer.room[0] = 7
    assert whole[0] == 7
