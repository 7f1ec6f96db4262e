import pytest

from salver.sources.uri import redacted, scheme_of


@pytest.mark.parametrize(
    ("path", "scheme"),
    [
        ("/models/m", ""),
        ("/models/s3://m", ""),
        ("file:///models/m", ""),
        ("FILE:///models/m", ""),
        ("s3://bucket/m", "s3"),
        ("GS://bucket/m", "gs"),
        ("http://host:80/m", "http"),
        ("://x", ""),
        ("", ""),
    ],
)
def test_the_scheme_of_a_base_path(path: str, scheme: str) -> None:
    assert scheme_of(path) == scheme


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://bucket/m@2/1", "s3://bucket/m@2/1"),
        ("ftp://me:word@host/m", "ftp://***@host/m"),
        ("ftp://me:w@rd@host/m", "ftp://***@host/m"),
        ("see https://me@host/m and ftp://u:p@h", "see https://***@host/m and ftp://***@h"),
        (
            "https://h/m?X-Amz-Signature=abc&n=1&sig=q%3D&AccessKeyId=AK",
            "https://h/m?X-Amz-Signature=***&n=1&sig=***&AccessKeyId=***",
        ),
    ],
)
def test_users_passwords_and_signatures_are_not_shown(text: str, shown: str) -> None:
    assert redacted(text) == shown


def test_the_password_of_a_uri_is_not_shown_in_any_form() -> None:
    uri = "ftp://me:secret@host/m"
    assert redacted("/me:secret@host/m: no login with secret", uri) == (
        "/***@host/m: no login with ***"
    )
    assert redacted("a b", "ftp://a:b@host") == "a b"
