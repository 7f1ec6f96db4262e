"""The handshakes of TCP on a port that several processes share, when one of them is to close.

A connection belongs to one process from its first packet on: closing resets those whose
handshake is not complete. So first no more are begun, then those that are get their time.
"""

import asyncio
import contextlib
import ctypes
import socket
import struct
from collections.abc import Collection, Sequence
from typing import Any

# Longer than from here to most clients and back.
_LONGEST_S = 0.25
_PAUSE_S = 0.005

_SO_ATTACH_FILTER = 26
# Instructions of the kernel's packet filter, on a TCP header: the flags are byte 13; SYN without
# ACK asks for a connection and is dropped, everything else is kept.
_LOAD_BYTE, _AND, _JUMP_IF_EQUAL, _RETURN = 0x30, 0x54, 0x15, 0x06
_WITHOUT_NEW_CONNECTIONS = (
    (_LOAD_BYTE, 0, 0, 13),
    (_AND, 0, 0, 0x12),
    (_JUMP_IF_EQUAL, 0, 1, 0x02),
    (_RETURN, 0, 0, 0),
    (_RETURN, 0, 0, 0xFFFF_FFFF),
)

# The kernel's list of sockets (sock_diag), of TCP, in the state SYN_RECV.
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP = 20, 0x301
_ERROR, _DONE = 2, 3
_SYN_RECEIVED = 1 << 3
_HEADER = struct.Struct("=IHHII")
_QUESTION = struct.Struct("=BBBxI48x")
# After four bytes: the ports, then the addresses.
_IDENTITY = slice(4, 40)


async def finish_handshakes(listening: Sequence[Any]) -> None:
    """Have these sockets begin no more connections, and give those that are begun their time."""
    if not listening:
        return
    for sock in listening:
        drop_new_connections(sock)
    ports = {sock.getsockname()[1] for sock in listening}
    loop = asyncio.get_running_loop()
    limit = loop.time() + _LONGEST_S
    begun = await asyncio.to_thread(begun_handshakes, ports)
    # Only those that were there at first: others of the port keep coming, to other sockets.
    while (begun is None or begun) and loop.time() < limit:
        await asyncio.sleep(_PAUSE_S)
        now = await asyncio.to_thread(begun_handshakes, ports)
        begun = None if begun is None or now is None else begun & now


def drop_new_connections(listening: Any) -> None:
    """Have a TCP socket ignore who asks for a connection from now on.

    Handshakes that have begun are completed. Whoever is ignored asks again after a second,
    and then reaches another socket of the port. Without a kernel that can do so, no effect.
    """
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in _WITHOUT_NEW_CONNECTIONS)
    kept = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HL", len(_WITHOUT_NEW_CONNECTIONS), ctypes.addressof(kept))
    with contextlib.suppress(OSError):
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def begun_handshakes(ports: Collection[int]) -> frozenset[bytes] | None:
    """The handshakes with these ports that are not complete; None if the kernel does not tell."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as netlink:
            netlink.settimeout(1)
            found = [*_syn_received(netlink, socket.AF_INET)]
            found += _syn_received(netlink, socket.AF_INET6)
    except OSError:
        return None
    return frozenset(one for one in found if int.from_bytes(one[:2], "big") in ports)


def _syn_received(netlink: socket.socket, family: int) -> list[bytes]:
    question = _QUESTION.pack(family, socket.IPPROTO_TCP, 0, _SYN_RECEIVED)
    size = _HEADER.size + len(question)
    netlink.send(_HEADER.pack(size, _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 1, 0) + question)
    found: list[bytes] = []
    while True:
        data = netlink.recv(1 << 16)
        position = 0
        while position < len(data):
            size, kind, *_ = _HEADER.unpack_from(data, position)
            if kind == _DONE:
                return found
            if kind == _ERROR:
                raise OSError("the kernel does not list sockets")
            found.append(data[position + _HEADER.size : position + size][_IDENTITY])
            position += (size + 3) & ~3
