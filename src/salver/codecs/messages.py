"""The wire messages of TensorFlow and TensorFlow Serving, without TensorFlow.

They are declared in `protos/`, compiled at build time, and loaded into a
descriptor pool of our own on first use: TensorFlow's copies of the same
messages can live in the same process, loaded before or after ours. A message
of ours is therefore never an instance of TensorFlow's class; hand over bytes.
"""

import threading
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from google.protobuf import text_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from salver.codecs.proto_text_error import wording
from salver.errors import InvalidArgument

if TYPE_CHECKING:

    class WireMessage(Message):
        """What a type checker may know of a message whose class is made at run time."""

        def __init__(self, **fields: Any) -> None: ...
        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...

else:
    WireMessage = Message

_DESCRIPTORS = Path(__file__).with_name("messages.binpb")
_loading = threading.Lock()
_loaded: list[DescriptorPool] = []


def descriptor_pool() -> DescriptorPool:
    """The private pool with all our files. Any thread; the same pool every time."""
    with _loading:
        if not _loaded:
            pool = DescriptorPool()
            for file_descriptor in _file_descriptors(_DESCRIPTORS.read_bytes()):
                pool.AddSerializedFile(file_descriptor)
            _loaded.append(pool)
    return _loaded[0]


@cache
def message_class(full_name: str) -> type[WireMessage]:
    """The class of a message by its full name, `tensorflow.serving.ModelServerConfig`.

    Raises:
        KeyError: no such message is declared.
    """
    descriptor = descriptor_pool().FindMessageTypeByName(full_name)
    return cast("type[WireMessage]", GetMessageClass(descriptor))


def parse_text(full_name: str, text: str) -> WireMessage:
    """Read a message in text format, `[type.googleapis.com/...] {}` in an `Any` included.

    Raises:
        InvalidArgument: the text is not such a message; worded as the C++ library
            does, `Error parsing text-format {full_name}: {line}:{column}: {what}`.
    """
    message = message_class(full_name)()
    try:
        text_format.Parse(text, message, descriptor_pool=descriptor_pool())
    except text_format.ParseError as error:
        found = wording(error, text)
        raise InvalidArgument(f"Error parsing text-format {full_name}: {found}") from error
    except RecursionError as error:
        found = "1:1: Message is too deep."
        raise InvalidArgument(f"Error parsing text-format {full_name}: {found}") from error
    except SystemError:
        # The library stumbles over a name that is not UTF-8, where it looks names up.
        encodable = text.encode(errors="replace").decode()
        if encodable == text:
            raise
        return parse_text(full_name, encodable)
    return message


def print_text(message: Message) -> str:
    """The message in text format, several lines, `Any` contents expanded where known."""
    return text_format.MessageToString(message, descriptor_pool=descriptor_pool())


def _file_descriptors(descriptor_set: bytes) -> list[bytes]:
    """Cut a serialized FileDescriptorSet into its files, imported ones first.

    By hand, because parsing it would need a generated module from the default pool.
    """
    files = []
    position = 0
    while position < len(descriptor_set):
        position += 1  # The tag: `file` is the only field.
        size = shift = 0
        while True:
            byte = descriptor_set[position]
            position += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        files.append(descriptor_set[position : position + size])
        position += size
    return files
