"""Our `.proto` files as their clients may ask for them: by path, by what is in them."""

from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import FileDescriptor

from salver.codecs.messages import descriptor_pool
from salver.errors import NotFound


def file_by_name(path: str) -> FileDescriptor:
    """The file of that path.

    Raises:
        NotFound: there is none.
    """
    try:
        return descriptor_pool().FindFileByName(path)
    except KeyError:
        raise NotFound("File not found.") from None


def file_of_symbol(name: str) -> FileDescriptor:
    """The file that declares a service, method, message, field, enum or value by its full name.

    Raises:
        NotFound: there is none.
    """
    pool = descriptor_pool()
    try:
        return pool.FindFileContainingSymbol(name)
    except KeyError:
        pass
    try:
        # A symbol of its own in other implementations of protobuf.
        file: FileDescriptor = pool.FindMethodByName(name).containing_service.file
    except KeyError:
        raise NotFound("Symbol not found.") from None
    return file


def file_of_extension(message: str, number: int) -> FileDescriptor:
    """The file that declares the extension of a message with that number.

    Raises:
        NotFound: there is no such message, or no such extension of it.
    """
    pool = descriptor_pool()
    try:
        extended = pool.FindMessageTypeByName(message)
    except KeyError:
        raise NotFound("Type not found.") from None
    try:
        extension: Any = pool.FindExtensionByNumber(extended, number)
    except KeyError:
        raise NotFound("Extension not found.") from None
    file: FileDescriptor = extension.file
    return file


def extension_numbers(message: str) -> list[int]:
    """The numbers of all extensions of a message.

    Raises:
        NotFound: there is no such message.
    """
    pool = descriptor_pool()
    try:
        extended = pool.FindMessageTypeByName(message)
    except KeyError:
        raise NotFound("Type not found.") from None
    return sorted(extension.number for extension in pool.FindAllExtensions(extended))


def with_imports(file: FileDescriptor) -> Iterator[FileDescriptor]:
    """The file, then all that it needs, each once."""
    waiting, seen = [file], {file.name}
    while waiting:
        current = waiting.pop(0)
        yield current
        for imported in current.dependencies:
            if imported.name not in seen:
                seen.add(imported.name)
                waiting.append(imported)
