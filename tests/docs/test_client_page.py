"""Every Python snippet of docs/client.md runs, against real servers."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import Authority, ssl_config
from tests.running import RunningServer, write_config
from tests.served_models import export

PAGE = Path(__file__).resolve().parents[2] / "docs" / "client.md"
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
SHOWN = re.compile(r"print\((.*)\) +# (.*)$")
KEY = "a-key-of-the-test"
AUTHORITY = Authority()


@pytest.fixture(scope="module")
def base_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "half_plus_two"
    export("examples", path / "1")
    shutil.copytree(path / "1", path / "2")
    return path


@pytest.fixture(scope="module")
def config(base_path: Path) -> str:
    body = (
        f'name: "half_plus_two" base_path: "{base_path}" model_platform: "tensorflow" '
        "model_version_policy { all {} } "
        'version_labels { key: "stable" value: 1 } version_labels { key: "canary" value: 2 }'
    )
    return write_config(base_path.parent / "models.txt", [body])


@pytest.fixture(scope="module")
def server(config: str) -> Iterator[RunningServer]:
    with RunningServer(config, "--allow_version_labels_for_unavailable_models") as running:
        wait_for_both(running)
        yield running


@pytest.fixture(scope="module")
def tls_server(config: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    file = tmp_path_factory.mktemp("tls") / "ssl.txt"
    file.write_text(ssl_config(AUTHORITY.issue(), AUTHORITY.pem, verifies_clients=True))
    labels = "--allow_version_labels_for_unavailable_models"
    with RunningServer(config, labels, f"--ssl_config_file={file}") as running:
        wait_for_both(running)
        yield running


def wait_for_both(server: RunningServer) -> None:
    """The port opens when there is one version."""
    for version in (1, 2):
        server.wait_for_line(f"loaded servable version {{name: half_plus_two version: {version}}}")


def checked(code: str) -> str:
    """The code, with what is shown in comments beside `print` compared with what is printed."""
    lines = []
    for line in code.splitlines():
        found = SHOWN.search(line)
        if found:
            line = line[: found.start()] + f"assert str({found[1]}) == {found[2]!r}, {found[1]}"
        lines.append(line)
    return "\n".join(lines)


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_a_snippet_of_the_page_runs(
    number: int,
    server: RunningServer,
    base_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    code = SNIPPETS[number]
    if "models.example" in code:
        tls_server: RunningServer = request.getfixturevalue("tls_server")
        (tmp_path / "ca.pem").write_text(AUTHORITY.pem)
        AUTHORITY.issue("somebody").write(tmp_path, "client")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("MODELS_KEY", KEY)
        code = code.replace("models.example", f"localhost:{tls_server.grpc_port}")
    code = code.replace("localhost:8500", server.grpc_address)
    code = code.replace("http://localhost:8501", server.url)
    code = code.replace("/models/half_plus_two", str(base_path))
    # A snippet may use what the first one has imported.
    imports = "import numpy as np\nfrom salver.client import Client\n"
    exec(compile(imports + checked(code), f"{PAGE.name}, snippet {number}", "exec"), {})


def test_what_is_printed_is_compared() -> None:
    wrong = checked("x = 1\nprint(x)          # 2")
    with pytest.raises(AssertionError):
        exec(wrong, {})
    assert sum(len(SHOWN.findall(line)) for code in SNIPPETS for line in code.splitlines()) >= 6
