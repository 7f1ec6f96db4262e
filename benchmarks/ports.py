"""Ports for servers that are about to be started."""

import secrets
import socket

_FIRST, _COUNT = 20_000, 12_000
"""Below those that systems give to outgoing connections: a server takes seconds until it asks for
its port, and a client may have got it by then."""


def free_port() -> int:
    """A TCP port of this machine that was free a moment ago."""
    while True:
        port = _FIRST + secrets.randbelow(_COUNT)
        with socket.socket() as probe:
            # As a server does: connections that have ended do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
