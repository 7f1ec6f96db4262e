"""What a client loads: nothing of the server, and the library of a protocol when it is used."""

import subprocess
import sys

import pytest

LOADS = """
import sys
from salver.client import AsyncClient, Client
client = Client({address!r}) if {address!r} else None
print(*sorted({{name.split(".")[0] for name in sys.modules}} | set(sys.modules)))
"""
SERVER = {
    "salver._http2",
    "salver._tensorflow",
    "salver.transport",
    "salver.server",
    "salver.service",
}
HEAVY = {"tensorflow", "uvloop", "httptools"}


@pytest.mark.parametrize(
    ("address", "loaded", "left_out"),
    [("", set(), {"grpc", "httpx"}), ("localhost:1", {"grpc"}, {"httpx"}),
     ("http://localhost:1", {"httpx"}, {"grpc"})],
)  # fmt: skip
def test_only_what_is_needed_is_loaded(address: str, loaded: set[str], left_out: set[str]) -> None:
    command = [sys.executable, "-c", LOADS.format(address=address)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    modules = set(done.stdout.split())
    assert modules >= loaded
    assert not modules & (left_out | SERVER | HEAVY)
