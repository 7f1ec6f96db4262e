"""Callers that never stop: what they are answered while something happens to the server."""

import threading
from collections import Counter
from collections.abc import Callable
from typing import Self

import requests

from tests.grpc_client import GrpcClient
from tests.running import RunningServer

LIMIT_S = 60.0


class Load:
    """Two callers over gRPC and two over REST, from the begin of a `with` block to its end."""

    def __init__(self, server: RunningServer, model: str = "default") -> None:
        self.answers: Counter[float] = Counter()
        self.failures: list[str] = []
        self._server = server
        self._model = model
        self._ending = threading.Event()
        self._answered = threading.Condition()
        self._threads = [
            threading.Thread(target=caller) for caller in (self._grpc, self._rest) for _ in "12"
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Let the callers end after the calls that they are in."""
        self._ending.set()
        for thread in self._threads:
            thread.join(LIMIT_S)

    def wait_for(self, answer: float, times: int = 100) -> None:
        """Wait until so many more answers were this one."""
        with self._answered:
            wanted = self.answers[answer] + times
            arrived = self._answered.wait_for(
                lambda: self.answers[answer] >= wanted or self.failures, LIMIT_S
            )
        assert arrived, f"never answered {answer}: {self.answers}"
        assert self.failures == []

    def _grpc(self) -> None:
        with GrpcClient(self._server.grpc_address) as client:
            self._call(lambda: client.answer(self._model))

    def _rest(self) -> None:
        url = f"{self._server.url}/v1/models/{self._model}:predict"
        with requests.Session() as session:

            def predict() -> float:
                response = session.post(url, data='{"instances": [2.0]}', timeout=LIMIT_S)
                assert response.status_code == 200, response.text
                (answer,) = response.json()["predictions"]
                return float(answer)

            self._call(predict)

    def _call(self, predict: Callable[[], float]) -> None:
        while not self._ending.is_set():
            try:
                answer = predict()
            except Exception as failure:  # noqa: BLE001 - whatever a caller suffers is counted
                with self._answered:
                    self.failures.append(repr(failure))
                    self._answered.notify_all()
                return
            with self._answered:
                self.answers[answer] += 1
                self._answered.notify_all()
