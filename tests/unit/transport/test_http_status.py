import pytest

from salver.errors import Code
from salver.transport.http_status import HTTP_STATUS, PHRASES, html_page


@pytest.mark.parametrize(
    ("code", "status", "phrase"),
    [
        (Code.OK, 200, "OK"),
        (Code.CANCELLED, 499, "Client Error"),
        (Code.UNKNOWN, 500, "Internal Server Error"),
        (Code.INVALID_ARGUMENT, 400, "Bad Request"),
        (Code.DEADLINE_EXCEEDED, 504, "Gateway Time-out"),
        (Code.NOT_FOUND, 404, "Not Found"),
        (Code.ALREADY_EXISTS, 409, "Conflict"),
        (Code.PERMISSION_DENIED, 403, "Forbidden"),
        (Code.RESOURCE_EXHAUSTED, 429, "Client Error"),
        (Code.FAILED_PRECONDITION, 400, "Bad Request"),
        (Code.ABORTED, 409, "Conflict"),
        (Code.OUT_OF_RANGE, 400, "Bad Request"),
        (Code.UNIMPLEMENTED, 501, "Not Implemented"),
        (Code.INTERNAL, 500, "Internal Server Error"),
        (Code.UNAVAILABLE, 503, "Service Unavailable"),
        (Code.DATA_LOSS, 500, "Internal Server Error"),
        (Code.UNAUTHENTICATED, 401, "Unauthorized"),
    ],
)
def test_each_code_has_its_status_and_phrase(code: Code, status: int, phrase: str) -> None:
    assert HTTP_STATUS[code] == status
    assert PHRASES[status] == phrase


def test_no_code_is_without_a_status() -> None:
    assert set(HTTP_STATUS) == set(Code)


def test_the_page_of_an_error_is_worded_as_libevent_words_it() -> None:
    assert html_page(404) == (
        b"<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n"
        b"<H1>Not Found</H1>\n</BODY></HTML>\n"
    )


@pytest.mark.parametrize("status", sorted(PHRASES))
def test_every_status_has_a_page(status: int) -> None:
    assert f"<TITLE>{status} {PHRASES[status]}</TITLE>".encode() in html_page(status)
