"""The virtual environments of MLServer and FastAPI: made once, kept beside the models.

Theirs alone, because their requirements and Salver's need not agree. The frameworks in them are
those that made the models, of the same versions.
"""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

INSTALL_TIMEOUT_S = 1200.0
_STAMP = "installed.txt"


class NotInstallable(Exception):
    """pip could not install it here."""


@dataclass(frozen=True, slots=True)
class Environment:
    """What is installed, and what is asked for its version."""

    name: str
    distribution: str
    """The one that is measured."""
    requirements: tuple[str, ...]

    def python(self, workdir: Path) -> Path:
        """The interpreter of this environment; makes it if it is not there, or is another.

        Raises:
            NotInstallable: with the end of what pip says.
        """
        folder = workdir / "environments" / self.name
        python = folder / "bin" / "python"
        stamp = folder / _STAMP
        wanted = "\n".join(self.requirements)
        if stamp.exists() and stamp.read_text() == wanted:
            return python
        print(f"installing {self.name} in {folder}", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        install = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        try:
            done = subprocess.run(
                [*install, *self.requirements],
                capture_output=True,
                text=True,
                timeout=INSTALL_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            raise NotInstallable(f"{self.name}: pip took too long") from None
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if "ERROR" in line]
            raise NotInstallable(f"{self.name}: {' '.join(lines[-2:]) or done.stderr[-300:]}")
        stamp.write_text(wanted)
        return python

    def version(self, workdir: Path) -> str:
        """Of the distribution that is measured, as it is installed there."""
        code = f"from importlib.metadata import version; print(version({self.distribution!r}))"
        python = self.python(workdir)
        done = subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True)
        return done.stdout.strip()


def mlserver() -> Environment:
    """MLServer with its runtimes for scikit-learn and XGBoost."""
    return Environment(
        "mlserver",
        "mlserver",
        (
            *("mlserver>=1.7", "mlserver-sklearn>=1.7", "mlserver-xgboost>=1.7"),
            # MLServer 1.7 asks for the loop of a thread that has none, which later ones refuse.
            "uvloop<0.22",
            *_frameworks("xgboost"),
        ),
    )


def fastapi() -> Environment:
    """FastAPI on uvicorn with its quick parts."""
    requirements = ("fastapi>=0.115", "uvicorn[standard]>=0.34", "joblib")
    return Environment("fastapi", "fastapi", (*requirements, *_frameworks("xgboost-cpu")))


def _frameworks(xgboost: str) -> tuple[str, str]:
    return f"scikit-learn=={version('scikit-learn')}", f"{xgboost}=={version('xgboost-cpu')}"
