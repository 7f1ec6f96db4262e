"""What is not needed is not imported: backends are found, folders looked at, and no more."""

import subprocess
import sys

from tests.backends.cases import CASES
from tests.backends.made import Made

PROGRAM = """
import sys
from pathlib import Path
import salver.server
from salver.backends.registry import Backends
from salver.core.backend import BackendOptions
assert "importlib.metadata" not in sys.modules, "entry points are read"
assert "salver.backends.pipeline" not in sys.modules
backends = Backends()
for name in list(backends.names):
    backend = backends.named(name)
    assert backend.name == name
    assert isinstance(backend.extra, str)
for platform, path in zip(sys.argv[2::2], sys.argv[3::2]):
    found = backends.of_folder(Path(path))
    assert found is not None and found.name == platform, (platform, path, found)
    names = [str(file.relative_to(path)) for file in Path(path).rglob("*")]
    assert found.lacking(names) is None, platform
    assert found.lacking([]) is not None, platform
    assert found.estimated_bytes(Path(path)) > 0, platform
    found.loader(path, BackendOptions(model_name="m"))
imported = sorted(set(sys.argv[1].split(",")) & set(sys.modules))
assert not imported, imported
"""


def test_folders_are_told_apart_and_loaders_made_without_any_framework(
    all_made: list[Made],
) -> None:
    frameworks = ",".join({name for case in CASES.values() for name in case.frameworks})
    folders = [
        argument
        for made in all_made
        if made.case.platform != "tensorflow"
        for argument in (made.case.platform, str(made.version(1)))
    ]

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, frameworks, *folders], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
