import pytest

from salver.client.address import address_of
from salver.errors import InvalidArgument


@pytest.mark.parametrize(
    ("given", "understood"),
    [
        ("localhost:8500", "grpc://localhost:8500"),
        ("models.example", "grpc://models.example:8500"),
        ("grpc://[::1]:9000", "grpc://[::1]:9000"),
        ("grpcs://models.example", "grpcs://models.example:443"),
        ("http://localhost", "http://localhost:8501"),
        ("http://localhost:80/serving/", "http://localhost:80/serving"),
        ("https://models.example", "https://models.example:443"),
        ("grpc://[::1]:8500", "grpc://[::1]:8500"),
        ("http://bücher.example", "http://bücher.example:8501"),
        ("salver_models:8500", "grpc://salver_models:8500"),
    ],
)
def test_an_address_is_understood(given: str, understood: str) -> None:
    assert str(address_of(given)) == understood


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("ftp://localhost", "begins with none of grpc://"),
        ("", "is no address"),
        ("localhost:port", "is no address"),
        ("localhost:99999", "is no address"),
        ("grpc://localhost:1/path", "is no address"),
        ("http://localhost?x=1", "is no address"),
        ("http://me:secret@localhost", "no user and password"),
        ("http://exa mple:1", "is no name"),
        ("a..b:1", "is no name"),
        (f"http://{'a' * 70}", "is no name"),
        ("http://\ud800:1", "is no name"),
        ("\x00:1", "is no name"),
    ],
)
def test_what_is_no_address_is_refused(given: str, reason: str) -> None:
    with pytest.raises(InvalidArgument, match=reason) as raised:
        address_of(given)
    assert "secret" not in str(raised.value)
