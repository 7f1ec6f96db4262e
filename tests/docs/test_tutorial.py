"""The tutorial, done as its reader does it: files saved, commands typed, in three terminals."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.ports import free_port

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "tutorial.md").read_text()
LIMIT_S = 600.0
_STEP = re.compile(r"Save this as `([^`]+)`:\n\n```python\n(.*?)```|```sh\n(.*?)```", re.DOTALL)
_OTHER_TERMINAL = re.compile(r"# in the (second|third) terminal\n")


class Terminal:
    """A command that goes on in the background; its lines can be waited for."""

    def __init__(self, command: str, folder: Path, environment: dict[str, str]) -> None:
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._has_ended = False
        self.process = subprocess.Popen(
            ["sh", "-c", f"exec {command}"],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()

    def wait_for(self, part: str, count: int = 1) -> None:
        def seen() -> bool:
            return sum(part in line for line in self.lines) >= count

        with self._changed:
            self._changed.wait_for(lambda: seen() or self._has_ended, LIMIT_S)
            assert seen(), f"no {part!r} in:\n" + "\n".join(self.lines)

    def press_ctrl_c(self) -> int:
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(LIMIT_S)
        self._reader.join(LIMIT_S)
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        if self.process.stdout is not None:
            self.process.stdout.close()


@dataclass
class Session:
    """What the reader has done."""

    folder: Path
    printed: list[tuple[str, str]] = field(default_factory=list)
    """Each block of commands with what it printed, in order."""
    terminals: dict[str, Terminal] = field(default_factory=dict)
    ends: dict[str, int] = field(default_factory=dict)
    """The exit codes of the other terminals, after Ctrl-C."""

    def output(self, command: str) -> str:
        """What the first block with this command printed."""
        return next(output for block, output in self.printed if command in block)


def ported(text: str, ports: dict[str, str]) -> str:
    """The text with ports that are free here."""
    return re.sub("|".join(ports), lambda match: ports[match[0]], text)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    for framework in ("keras", "tensorflow", "grpc", "httpx"):
        if find_spec(framework) is None:
            pytest.skip(f"{framework} is not installed")
    session = Session(tmp_path_factory.mktemp("tutorial"))
    ports = {"8500": str(free_port()), "8501": str(free_port())}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    try:
        for name, code, commands in _STEP.findall(ported(PAGE, ports)):
            if name:
                (session.folder / name).write_text(code)
            else:
                _type(session, commands, environment)
        for which in ("third", "second"):
            session.ends[which] = session.terminals[which].press_ctrl_c()
        yield session
    finally:
        for terminal in session.terminals.values():
            terminal.close()


def _type(session: Session, commands: str, environment: dict[str, str]) -> None:
    """Type the commands of one block where the page says."""
    other = _OTHER_TERMINAL.match(commands)
    if other is not None:
        command = commands[other.end() :]
        terminal = Terminal(command, session.folder, environment)
        session.terminals[other[1]] = terminal
        terminal.wait_for("Exporting HTTP/REST API at" if other[1] == "second" else "answers")
        return
    done = subprocess.run(
        ["sh", "-e", "-c", commands],
        cwd=session.folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, (commands, done.stdout, done.stderr)
    session.printed.append((commands, done.stdout))
    if "salver push" in commands or "salver rollback" in commands:
        # The reader looks at the third terminal.
        seen = 2 if "salver push" in commands else 3
        session.terminals["third"].wait_for("answers", seen)


def test_every_command_of_the_page_was_typed(session: Session) -> None:
    blocks = re.findall(r"```sh\n", PAGE)
    assert len(session.printed) + len(session.terminals) == len(blocks)
    assert {path.name for path in session.folder.glob("*.py")} == {"train.py", "ask.py", "load.py"}


def test_every_link_leads_to_a_page() -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", PAGE)
    assert [target for target in targets if not (DOCS / target).exists()] == []


def test_the_model_learns_and_is_exported_with_what_the_page_says(session: Session) -> None:
    output = session.output("train.py models")
    assert accuracy(output) > 70
    for line in ("signature predict: predict", "signature classify: classify", "requests: 1"):
        assert line in output


def accuracy(output: str) -> int:
    """In percent."""
    return int(re.findall(r"Right about (\d+)% of", output)[0])


def test_the_first_customer_leaves_and_the_second_stays(session: Session) -> None:
    output = session.output("--input_examples")
    assert output.index("classes") < output.index("scores")
    first, second = re.findall(r"\[+([\d.e+-]+) +([\d.e+-]+) *\]", output)
    assert float(first[1]) > 0.5 > float(second[1])
    (probability,) = re.findall(r"\[\[([\d.]+)\]\]", session.output("--input_exprs"))
    assert float(probability) == pytest.approx(float(first[1]), abs=1e-4)


def test_the_larger_network_is_better_and_sees_the_end_of_the_contract(session: Session) -> None:
    smaller, larger = session.output("train.py models"), session.output("train.py candidates")
    assert accuracy(larger) > accuracy(smaller)
    asked = [output for block, output in session.printed if "python ask.py" in block]
    before, after = (int(re.findall(r"probability of (\d+)%", each)[1]) for each in asked)
    assert after > 50
    assert after > before


def test_nothing_is_found_in_it(session: Session) -> None:
    assert "nothing found" in session.output("salver scan")


def test_curl_and_the_client_get_the_same(session: Session) -> None:
    output = session.output("curl")
    assert '"state": "AVAILABLE"' in output
    (predicted,) = re.findall(r'"predictions": \[\[([\d.]+)\]', output)
    (classified,) = re.findall(r'\["leaves", ([\d.]+)\]', output)
    asked = session.output("python ask.py")
    told = re.findall(r"probability of (\d+)%", asked)[0]
    assert float(predicted) == pytest.approx(float(classified), abs=1e-4)
    assert float(told) / 100 == pytest.approx(float(predicted), abs=0.006)


def test_the_versions_change_under_load_and_no_request_fails(session: Session) -> None:
    lines = session.terminals["third"].lines
    versions = re.findall(r"version (\d+) answers", "\n".join(lines))
    first, second, third = versions
    assert first == third
    assert int(second) > int(first)
    answered, failed = re.findall(r"(\d+) answered, (\d+) failed", lines[-1])[0]
    assert int(answered) > 10
    assert int(failed) == 0
    asked = [output for block, output in session.printed if "python ask.py" in block]
    assert f"says version {first}\n" in asked[0]
    assert f"says version {second}\n" in asked[1]


def test_all_ends_well(session: Session) -> None:
    assert session.ends["second"] == 0
    assert session.ends["third"] == 0
