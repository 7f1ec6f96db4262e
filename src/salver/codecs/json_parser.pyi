"""The JSON grammar of TensorFlow Serving: bytes to nodes, in one pass, without recursion.

An object becomes a tuple of names and values in turn, duplicates kept; an array a list; a
string bytes. The grammar is that of rapidjson 1.1.0, its iterative parser with NaN and
infinities allowed, which stops after the first value: text after it is ignored, as is a
byte order mark. Each mistake is reported as its state machine reports it, at the same offset.
"""

from typing import Final, final

from salver.codecs.json_quote import Node

@final
class _Absent: ...

ABSENT: Final[_Absent]
"""Stands for a member that an object does not have."""

def parse(body: bytes | bytearray) -> Node:
    """Parse a whole document into plain nodes, for those who must look at every value.

    Doubles are rounded with rapidjson's own arithmetic, because messages quote them.

    Raises:
        InvalidArgument: the text is not JSON.
    """

def parse_members(body: bytes | bytearray, names: tuple[bytes, ...]) -> list[object] | None:
    """Parse a document and keep some members of the object that it must be.

    The first member of each name counts; without one its place holds ABSENT. Members that
    nobody asked for are checked, but not kept. Arrays of numbers come as `Numbers`, all
    other values as plain nodes.

    Returns:
        The values in the order of `names`, or None if the document is not an object.

    Raises:
        InvalidArgument: the text is not JSON.
    """
