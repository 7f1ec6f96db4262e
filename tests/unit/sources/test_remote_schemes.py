from collections.abc import Callable

import pytest

from salver.errors import Unimplemented
from salver.sources.remote_schemes import require_scheme


def installed(*names: str) -> Callable[[str], bool]:
    return lambda name: name in names


@pytest.mark.parametrize(
    ("scheme", "module"),
    [("s3", "s3fs"), ("gs", "gcsfs"), ("az", "adlfs"), ("abfss", "adlfs"), ("https", "aiohttp")],
)
def test_what_is_installed_is_accepted(scheme: str, module: str) -> None:
    require_scheme(f"{scheme}://host/m", installed("fsspec", module))


@pytest.mark.parametrize(
    ("scheme", "command"),
    [
        ("s3", "install s3fs: pip install 'salver[s3]'"),
        ("S3a", "install s3fs: pip install 'salver[s3]'"),
        ("gs", "install gcsfs: pip install 'salver[gcs]'"),
        ("abfs", "install adlfs: pip install 'salver[azure]'"),
        ("http", "install aiohttp: pip install 'salver[http]'"),
        ("memory", "install fsspec: pip install fsspec"),
    ],
)
def test_what_is_not_installed_is_named_with_the_command(scheme: str, command: str) -> None:
    with pytest.raises(Unimplemented) as refused:
        require_scheme(f"{scheme}://me:word@host/m", installed())
    assert refused.value.message == (
        f"File system scheme '{scheme.lower()}' not implemented "
        f"(file: '{scheme}://***@host/m'): {command}"
    )


def test_other_file_systems_of_fsspec_are_accepted() -> None:
    require_scheme("memory://m")
    require_scheme("ftp://host/m")


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("carrier.pigeon://roof/m", "it is not known"),
        ("zip://m::s3://bucket/x.zip", "it names no storage"),
        ("reference://m", "it names no storage"),
        ("local://m", "it names no storage"),
        ("oss://bucket/m", "Install ossfs to access"),
    ],
)
def test_what_is_no_storage_here_is_refused(uri: str, reason: str) -> None:
    with pytest.raises(Unimplemented, match=reason):
        require_scheme(uri)
