"""Models of the cases, made by the frameworks in processes of their own, and their answers.

Run as a program with the name of a case and a folder, this module is such a process.
"""

import pickle
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.backends.cases import CASES
from tests.backends.contract import Arrays, BackendCase

VARIANTS = (1, 2)
LARGE = 48 << 20
"""Bytes of a model whose memory is looked for after it was unloaded."""


@dataclass(frozen=True)
class Made:
    """What was made of a case."""

    name: str
    case: BackendCase
    folder: Path

    def version(self, variant: int) -> Path:
        return self.folder / str(variant)

    def answers(self, variant: int) -> Arrays:
        """The framework's own, to the inputs of the case."""
        answers: Arrays = pickle.loads((self.folder / f"answers_{variant}").read_bytes())
        return answers

    def link(self, variant: int, place: Path) -> None:
        """Have a version at `place`."""
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(self.version(variant))

    def copy(self, variant: int, place: Path) -> None:
        shutil.copytree(self.version(variant), place)


class NotMadeError(Exception):
    """A case could not be made."""


def make(name: str, folder: Path, large_bytes: int = 0) -> Made:
    """Make both variants of a case, or one large version, in a child process.

    Raises:
        NotMadeError: with how the process ended and what it wrote.
    """
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "tests.backends.made", name, str(folder), str(large_bytes)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise NotMadeError(f"making {name} ended with {done.returncode}:\n{done.stdout}")
    return Made(name, CASES[name], folder)


class Maker:
    """Makes each case once; one that failed fails again, for the same reason."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._outcomes: dict[tuple[str, int], Made | NotMadeError] = {}

    def __call__(self, name: str, large_bytes: int = 0) -> Made:
        key = (name, large_bytes)
        if key not in self._outcomes:
            try:
                self._outcomes[key] = make(
                    name, self._folder / f"{name}_{large_bytes}", large_bytes
                )
            except NotMadeError as error:
                self._outcomes[key] = error
        outcome = self._outcomes[key]
        if isinstance(outcome, NotMadeError):
            raise outcome
        return outcome


def main(name: str, folder: str, large_bytes: str) -> None:
    case = CASES[name]
    if int(large_bytes):
        place = Path(folder, "1")
        place.mkdir()
        assert case.make_large is not None
        case.make_large(place, int(large_bytes))
        return
    for variant in VARIANTS:
        place = Path(folder, str(variant))
        place.mkdir()
        answers = {alias: np.asarray(value) for alias, value in case.make(place, variant).items()}
        Path(folder, f"answers_{variant}").write_bytes(pickle.dumps(answers))


if __name__ == "__main__":
    main(*sys.argv[1:])
