"""A client over the end of a server and the start of the next one on the same port."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from salver.client import Client, Retries
from tests.running import RunningServer, wait_until

PATIENT = Retries(attempts=10_000, first_pause_s=0.02, longest_pause_s=0.1, budget=100_000)


def test_calls_outlive_a_restart(constant_template: Path) -> None:
    flags = ("--model_name=m", f"--model_base_path={constant_template.parent}")
    x = {"x": np.ones(1, np.float32)}
    with RunningServer(*flags) as first:
        grpc_port, rest_port = first.grpc_port, first.rest_port
        clients = [Client(first.grpc_address, retries=PATIENT), Client(first.url, retries=PATIENT)]
        for client in clients:
            assert client.predict("m", x)["y"].tolist() == [1]
    second = RunningServer(*flags)
    second.grpc_port, second.rest_port = grpc_port, rest_port
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(client.predict, "m", x) for client in clients]
        wait_until(lambda: all(one.running() for one in waiting), "both calls are under way")
        with second:
            assert [one.result(60)["y"].tolist() for one in waiting] == [[1], [1]]
            for client in clients:
                client.close()
