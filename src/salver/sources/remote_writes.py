"""Remote storage through fsspec: uploading, copying and deleting files.

A server only reads; this is for the programs that bring models to where servers find them.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from glob import has_magic

from salver.errors import NotFound
from salver.sources.remote_errors import told_as_ours
from salver.sources.remote_files import RemoteFiles


class RemoteWrites:
    """What changes storage. From any thread; every call may block."""

    def __init__(self, files: RemoteFiles) -> None:
        """`files` knows the file systems; connections are shared with it."""
        self._files = files

    def upload(self, uri: str, name: str, local_path: str, on_bytes: Callable[[int], None]) -> None:
        """Write a local file as `name` in the folder at `uri`.

        Args:
            uri: the folder; it need not be there.
            name: with `/` between folders.
            local_path: what is written.
            on_bytes: told how many bytes have gone so far; what it raises breaks the upload off.

        Raises:
            ServingError: the storage cannot be asked, or does not allow it.
        """
        from fsspec.callbacks import Callback

        with told_as_ours(f"{uri}/{name}"):
            file_system, path = self._files.opened(uri)
            callback = Callback(hooks={"bytes": lambda size, value: on_bytes(value)})
            file_system.put_file(local_path, f"{path}/{name}", callback=callback)

    def write(self, uri: str, content: bytes) -> None:
        """Write a small file.

        Raises:
            ServingError: the storage cannot be asked, or does not allow it.
        """
        with told_as_ours(uri):
            file_system, path = self._files.opened(uri)
            file_system.pipe_file(path, content)

    def read(self, uri: str) -> bytes:
        """The content of a small file.

        Raises:
            NotFound: there is none.
            ServingError: the storage cannot be asked.
        """
        with told_as_ours(uri):
            file_system, path = self._files.opened(uri)
            content: bytes = file_system.cat_file(path)
        return content

    def copy(self, uri: str, target: str, name: str) -> None:
        """Copy the file `name` from one folder to another of the same file system.

        Raises:
            ServingError: the storage cannot be asked, or does not allow it.
        """
        with told_as_ours(f"{uri}/{name}"):
            file_system, path = self._files.opened(uri)
            _, target_path = self._files.opened(target)
            if not file_system.async_impl:  # Object stores have no folders to make.
                file_system.makedirs(f"{target_path}/{name}".rpartition("/")[0], exist_ok=True)
            file_system.cp_file(f"{path}/{name}", f"{target_path}/{name}")

    def delete(self, uri: str, names: Sequence[str] = ()) -> None:
        """Delete a file, or these files of a folder in this order and then the rest of it.

        Raises:
            ServingError: the storage cannot be asked, or does not allow it.
        """
        for name in names:
            with suppress(NotFound), told_as_ours(f"{uri}/{name}"):
                file_system, path = self._files.opened(uri)
                # Not `rm`, which takes some names for patterns.
                file_system.rm_file(f"{path}/{name}")
        with suppress(NotFound), told_as_ours(uri):
            file_system, path = self._files.opened(uri)
            if not has_magic(path):
                if file_system.exists(path):
                    file_system.rm(path, recursive=True)
                return
            entries = file_system.find(path, withdirs=True, detail=True)
            for each in sorted(entries, reverse=True):
                if entries[each]["type"] != "directory":
                    file_system.rm_file(each)
                elif not file_system.async_impl:
                    file_system.rmdir(each)
