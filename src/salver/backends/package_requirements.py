"""A version's `requirements.txt`, compared with what is installed. Nothing is ever installed.

Source: packaging.python.org, dependency specifiers, as pip reads them from a file.
"""

import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from salver.backends.prerequisites import imported
from salver.core.backend import BackendOptions
from salver.errors import FailedPrecondition

if TYPE_CHECKING:
    from packaging.requirements import Requirement

FILE_NAME = "requirements.txt"
_COMMENT = re.compile(r"(^|\s)#.*$")
_CONTINUED = re.compile(r"\\\r?\n")


def require_packages(folder: Path, options: BackendOptions, extra: str = "python") -> None:
    """Check `requirements.txt`, if the folder has one. From a load thread.

    Raises:
        FailedPrecondition: a requirement is not met, or is none; one line for each.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return
    imported("packaging.requirements", options, extra)
    try:
        content = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FailedPrecondition(
            f"Model {options.model_name}: {FILE_NAME} cannot be read: {error}"
        ) from error
    lines = (_COMMENT.sub("", line).strip() for line in _CONTINUED.sub("", content).splitlines())
    unmet = [problem for line in lines if line and (problem := _problem(line))]
    if unmet:
        listed = "".join(f"\n  {problem}" for problem in unmet)
        raise FailedPrecondition(
            f"Model {options.model_name}: what {FILE_NAME} asks for is not installed:{listed}"
        )


def _problem(line: str) -> str | None:
    """What is wrong with a line of the file, None if nothing."""
    from packaging.requirements import InvalidRequirement, Requirement

    if line.startswith("-"):
        # Where packages come from is pip's business; another file, or an editable one, is not.
        return None if line.startswith(("-i", "-f", "--")) else f"{line}: cannot be checked"
    # Hashes and other options of pip come after the requirement.
    try:
        requirement = Requirement(re.split(r"\s--", line, maxsplit=1)[0])
    except InvalidRequirement as error:
        return f"{line}: is no requirement: {str(error).splitlines()[0]}"
    return _unmet(requirement)


def _unmet(requirement: "Requirement") -> str | None:
    if requirement.marker is not None and not requirement.marker.evaluate():
        return None
    try:
        installed = version(requirement.name)
    except PackageNotFoundError:
        return f"{requirement}: is not installed; pip install '{requirement}'"
    if not requirement.specifier.contains(installed, prereleases=True):
        return f"{requirement}: {installed} is installed; pip install '{requirement}'"
    return None
