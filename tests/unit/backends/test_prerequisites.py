"""What a load needs besides the model."""

import sys
import threading
from pathlib import Path

import pytest

from salver.backends.prerequisites import imported
from salver.core.backend import BackendOptions
from tests.fakes import LIMIT_S

MEETING = """
import threading

barrier = threading.Barrier(2)
met = []


def wait(name):
    try:
        barrier.wait(0.2)
    except threading.BrokenBarrierError:
        barrier.reset()
        return
    met.append(name)
"""


def test_two_loads_do_not_import_at_the_same_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("framework_of_one", "framework_of_another")
    (tmp_path / "meeting_of_imports.py").write_text(MEETING)
    for name in names:
        code = f"import meeting_of_imports\n\nmeeting_of_imports.wait({name!r})\n"
        (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    meeting = imported("meeting_of_imports", BackendOptions(model_name="m"), "extra")
    threads = [
        threading.Thread(target=imported, args=(name, BackendOptions(model_name="m"), "extra"))
        for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    assert all(name in sys.modules for name in names)
    assert meeting.met == []
    for name in (*names, "meeting_of_imports"):
        monkeypatch.delitem(sys.modules, name)
