import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from salver.core.data_type import DataType
from salver.core.handle import Handle
from salver.core.servable import ServableId
from salver.core.signature import Signature, TensorSpec
from salver.errors import NotFound
from salver.execution.batch_options import BatchOptions
from salver.execution.prepared import PreparedServable
from salver.service.batching import Batching
from salver.service.opening import Opening
from salver.transport.batching_page import BatchingPage
from salver.transport.exchange import HttpRequest


class Nothing:
    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        raise AssertionError


X = {"x": TensorSpec("x:0", DataType.FLOAT, (-1,))}
Y = {"y": TensorSpec("y:0", DataType.FLOAT, (-1,))}


class Model:
    """Two signatures over the same tensors."""

    signature_def_map = b""

    def __init__(self) -> None:
        names = ("serving_default", "again")
        self.signatures = {name: Signature(name, X, Y) for name in names}

    def program(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> Nothing:
        return Nothing()


class Site:
    """One model behind the page."""

    def __init__(self, options: BatchOptions | None) -> None:
        self.servable = PreparedServable(Model(), options)
        self.handle = Handle(ServableId("m", 3), self.servable)
        self.page = BatchingPage(Batching(Opening(self), threads=4))

    def open(self, name: str, version: int | None, label: str | None) -> Handle[PreparedServable]:
        if name != "m/1":
            raise NotFound(f"Servable not found for request: Latest({name})")
        self.handle.uses += 1
        return self.handle

    def get(self, target: bytes, method: bytes = b"GET") -> tuple[int, Any] | None:
        answer = self.page.page(HttpRequest(method, target, [], b""))
        return None if answer is None else (answer.status, json.loads(answer.body))


PATH = b"/salver/models/m%2F1/batching"
AUTOMATIC = BatchOptions(is_automatic=True, latency_target_s=0.5)


def test_an_unbatched_model_has_no_queues() -> None:
    site = Site(None)
    answer = {"model": "m", "version": "3", "batch_threads": 4, "queues": []}
    assert site.get(PATH) == (200, answer)
    assert site.handle.uses == 0


def test_signatures_that_share_tensors_share_a_queue() -> None:
    answer = Site(BatchOptions(max_batch_size=7, max_execution_batch_size=7)).get(PATH)
    assert answer is not None
    [queue] = answer[1]["queues"]
    assert queue["signatures"] == ["again", "serving_default"]
    assert queue["max_batch_size"] == 7
    assert "costs" not in queue


def test_of_an_automatic_queue_the_choices_are_shown() -> None:
    site = Site(AUTOMATIC)
    [queue] = site.servable.queues
    assert queue.control is not None
    queue.control.observe(1, 0.25)
    answer = site.get(PATH)
    assert answer is not None
    [shown] = answer[1]["queues"]
    assert shown["largest_batch"] == 1
    assert shown["latency_target_seconds"] == 0.5
    assert shown["costs"] == [{"rows": 1, "to_rows": 1, "batches": 1, "seconds_per_row": 0.25}]


def test_an_unknown_model_is_an_error_and_any_other_page_not_ours() -> None:
    site = Site(None)
    assert site.get(b"/salver/models/other/batching") == (
        404,
        {"error": "Servable not found for request: Latest(other)"},
    )
    assert site.get(b"/salver/models/m/else") is None
    assert site.get(PATH, b"POST") is None


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_it_can_be_asked_for_by(method: bytes) -> None:
    assert Site(None).get(PATH, method) is not None
