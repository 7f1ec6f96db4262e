"""Long bodies: where they lie in memory, and answers that come in pieces."""

import numpy as np
import pytest

from salver._http2 import Session
from tests.wire.http2_client import STATUS, TRAILERS, Headers, Notes, echo, serve

MIB = 2**20


class Foresight(Notes):
    """A handler that is told of long bodies, and says what it was made to say."""

    def __init__(self, expected: int, aligned_at: int) -> None:
        super().__init__(answer=echo)
        self.foretold = expected, aligned_at
        self.heads: list[bytes] = []

    def on_long_body(self, headers: Headers, head: memoryview) -> tuple[int, int]:
        self.heads.append(bytes(head))
        return self.foretold


def content_of(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def address_of(body: bytes | memoryview) -> int:
    return int(np.frombuffer(body, np.uint8).ctypes.data)


@pytest.mark.parametrize("aligned_at", [0, 1, 37, 64, 5000])
@pytest.mark.parametrize("size", [100_000, 4 * MIB])
def test_a_long_body_lies_in_memory_as_the_handler_wants_it(size: int, aligned_at: int) -> None:
    body = content_of(size)
    client, notes = serve(Foresight(size, aligned_at))
    response = client.get(body)
    _, received = notes.requests[1]
    assert received == body
    assert (address_of(received) + aligned_at) % 64 == 0
    assert response.body == body


@pytest.mark.parametrize("expected", [-1, 0, 1, 10_000, 99_999, 100_001, 10 * MIB, 2**40])
@pytest.mark.parametrize("aligned_at", [-1, 0, 63, 2**40])
def test_a_wrong_foresight_changes_nothing_in_the_body(expected: int, aligned_at: int) -> None:
    body = content_of(100_000)
    client, notes = serve(Foresight(expected, aligned_at))
    assert client.get(body).body == body
    assert notes.requests[1][1] == body
    assert client.session.buffered_bytes == 0


def test_the_handler_sees_how_a_long_body_begins_once() -> None:
    body = content_of(100_000)
    notes = Foresight(-1, -1)
    client, _ = serve(notes)
    client.get(body)
    assert len(notes.heads) == 1
    assert len(notes.heads[0]) >= 8192
    assert body.startswith(notes.heads[0])


def test_short_bodies_are_not_foreseen() -> None:
    notes = Foresight(-1, 0)
    client, _ = serve(notes)
    assert client.get(content_of(8191)).body == content_of(8191)
    assert notes.heads == []


def test_room_for_bodies_that_are_only_announced_does_not_run_out() -> None:
    """Many streams announce much and are cut off; the next one is served as ever."""
    notes = Foresight(2**25, 7)
    client, _ = serve(notes, window=2**31 - 1)
    for _ in range(50):
        stream_id = client.request(content_of(10_000), end=False)
        client.exchange()
        client.connection.reset_stream(stream_id)
    client.exchange()
    assert client.session.buffered_bytes == 0
    body = content_of(4 * MIB)
    notes.foretold = len(body), 7
    client.get(body)
    received = list(notes.requests.values())[-1][1]
    assert received == body
    assert (address_of(received) + 7) % 64 == 0


def test_what_foresight_raises_comes_out_of_feed() -> None:
    class Blind(Notes):
        def on_long_body(self, headers: Headers, head: memoryview) -> tuple[int, int]:
            raise LookupError("nothing seen")

    client, _ = serve(Blind())
    with pytest.raises(LookupError, match="nothing seen"):
        client.get(content_of(20_000))


@pytest.mark.parametrize("sizes", [[], [0], [3], [0, 5, 0], [10, 100_000, 7, 0, 70_000, 1]])
def test_the_pieces_of_an_answer_arrive_as_one_body(sizes: list[int]) -> None:
    pieces: list[bytes | memoryview] = [memoryview(content_of(size)) for size in sizes]

    def answer(session: Session, stream_id: int, _: Headers, body: bytes) -> None:
        session.respond(stream_id, STATUS, pieces, TRAILERS)
        assert session.unsent_bytes == sum(sizes)

    client, _ = serve(Notes(answer=answer))
    response = client.get(b"ask")
    assert response.body == b"".join(pieces)
    assert response.trailers == list(TRAILERS)
    assert client.session.unsent_bytes == 0
