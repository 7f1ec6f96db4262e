"""What the pages promise: links that lead somewhere, flags and commands that exist."""

import re
import tomllib
from pathlib import Path

import pytest

from salver import __version__
from salver.config.flags import DECLARATIONS

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/configuration.md",
    "docs/operations.md", "docs/protocols.md", "docs/batching.md", "docs/isolation.md",
    "docs/client.md", "docs/export.md",
    *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").glob("*backend*.md"))),
    "benchmarks/README.md",
    "benchmarks/results/README.md", "benchmarks/results/batching.md",
    "benchmarks/results/frameworks.md",
]  # fmt: skip


@pytest.mark.parametrize("page", PAGES)
def test_every_link_to_a_file_leads_to_one(page: str) -> None:
    path = ROOT / page
    targets = re.findall(r"\]\(([^)#:]+)\)", path.read_text())
    missing = [target for target in targets if not (path.parent / target).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES)
def test_every_flag_that_is_named_exists(page: str) -> None:
    known = {declaration.name for declaration in DECLARATIONS}
    # Those of other programs on these pages.
    known |= {"quick", "only", "rounds", "name", "workdir", "server", "against", "seconds"}
    known |= {"cacert", "factor", "deadlines", "protocols", "keep", "allow", "json"}
    known |= {"url", "model", "language", "label", "signature", "example"}
    named = set(re.findall(r"--([a-z0-9_]+(?:-[a-z]+)?)", (ROOT / page).read_text()))
    assert named - known - {"no-baselines", "help", "version", "prior-knowledge", "h1"} == set()


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        for target in re.findall(r"`make ([a-z-]+)", (ROOT / page).read_text()):
            assert target in targets, (page, target)


def test_the_readme_shows_a_served_model_before_line_40_and_stays_short() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert "make serve" in "\n".join(lines[:40])
    assert len(lines) <= 150


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == __version__
