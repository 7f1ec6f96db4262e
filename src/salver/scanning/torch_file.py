"""What PyTorch's archives do when they are loaded and run, told without PyTorch."""

from collections.abc import Iterator

from salver.backends.torch_archive import Kind, kind_of
from salver.backends.torch_export_check import check_program_file
from salver.backends.torch_module import file_calls
from salver.errors import InvalidArgument, PermissionDenied
from salver.scanning.part import Part, on_disk
from salver.scanning.report import Finding


def torch_findings(part: Part) -> Iterator[Finding]:
    """Look at an archive of PyTorch; its pickles are looked at as members of an archive."""
    with on_disk(part) as path:
        try:
            kind = kind_of(path, part.where)
        except InvalidArgument as error:
            yield Finding("archive-trick", part.where, _reason(error.message, part), "")
            return
        if kind is Kind.EXPORTED:
            yield from _exported(part, path)
        elif kind is Kind.SCRIPT:
            for member, call in file_calls(path):
                yield Finding(
                    "reads-file" if call != "save" else "writes-file",
                    f"{part.where}!{member}",
                    f"the code calls {call}",
                    call,
                    "TorchScript can open files by name with it",
                )


def _exported(part: Part, path: str) -> Iterator[Finding]:
    try:
        check_program_file(path, part.where)
    except PermissionDenied as error:
        yield Finding("runs-code", part.where, _reason(error.message, part), "",
                      "PyTorch trusts what it loads: it could run code")  # fmt: skip
    except InvalidArgument as error:
        yield Finding("unreadable", part.where, _reason(error.message, part), "")


def _reason(message: str, part: Part) -> str:
    return message.removeprefix(part.where).partition(", through which")[0].strip(" :")


def is_pickle_member(name: str) -> bool:
    """Whether a member, named without the folder in which all are, is more than numbers."""
    return not name.startswith(("data/", "tensors/", "constants/")) or name.endswith(
        (".pkl", ".pt", ".json", ".so", ".py", ".cpp")
    )
