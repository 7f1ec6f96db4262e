import errno

import pytest

from salver.errors import Aborted, Code, ServingError
from salver.sources.remote_errors import error_of_storage, told_as_ours

URI = "s3://bucket/m"


class NoCredentialsError(Exception):
    """Named as botocore's."""


class Refused(Exception):
    """An answer with a status number, as several libraries have it."""

    def __init__(self, status: int) -> None:
        super().__init__("Answer:\nwith details")
        self.status = status


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (FileNotFoundError("bucket/m"), Code.NOT_FOUND, f"{URI}; No such file or directory"),
        (
            FileNotFoundError("The specified bucket does not exist"),
            Code.NOT_FOUND,
            f"{URI}; The specified bucket does not exist",
        ),
        (PermissionError("Access Denied"), Code.PERMISSION_DENIED, f"{URI}; Access Denied"),
        (NoCredentialsError("none"), Code.UNAUTHENTICATED, f"{URI}; none"),
        (Refused(403), Code.PERMISSION_DENIED, f"{URI}; Answer:"),
        (Refused(401), Code.UNAUTHENTICATED, f"{URI}; Answer:"),
        (Refused(503), Code.UNAVAILABLE, f"{URI}; Answer:"),
        (TimeoutError(), Code.UNAVAILABLE, f"{URI}; TimeoutError"),
        (OSError(errno.ENOSPC, "full"), Code.RESOURCE_EXHAUSTED, f"{URI}; [Errno 28] full"),
        (NotImplementedError("ls"), Code.UNIMPLEMENTED, f"{URI}; ls"),
        (ValueError("http://u:p@h/x"), Code.UNAVAILABLE, f"{URI}; http://***@h/x"),
    ],
    ids=repr,
)
def test_each_fault_of_storage_has_a_code_and_one_line(
    error: Exception, code: Code, message: str
) -> None:
    ours = error_of_storage(error, URI)
    assert (ours.code, ours.message) == (code, message)


def test_errors_of_ours_pass_as_they_are() -> None:
    error = Aborted("as it is")
    with pytest.raises(Aborted) as raised, told_as_ours(URI):
        raise error
    assert raised.value is error


def test_errors_of_libraries_are_told_with_the_uri() -> None:
    with pytest.raises(ServingError, match=r"^s3://bucket/m; boom$"), told_as_ours(URI):
        raise RuntimeError("boom")
