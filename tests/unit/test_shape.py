"""The shape that every module keeps: small, and named after what it holds."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "salver"
MODULES = sorted(path for ending in ("*.py", "*.pyx", "*.pxi") for path in SOURCE.rglob(ending))
SAYS_NOTHING = {"util", "utils", "helper", "helpers", "common", "base", "misc", "constants"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_has_500_lines_at_most(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 500


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_name_says_what_a_module_holds(path: Path) -> None:
    assert path.stem not in SAYS_NOTHING
    assert path.parent.name not in SAYS_NOTHING


def test_a_class_has_400_lines_at_most() -> None:
    for path in MODULES:
        if path.suffix == ".py":
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef):
                    assert node.end_lineno is not None
                    assert node.end_lineno - node.lineno < 400, f"{path}: {node.name}"


def test_every_error_stands_in_the_drawing_of_the_tree() -> None:
    tree = ast.parse((SOURCE / "errors.py").read_text())
    drawing = ast.get_docstring(tree) or ""
    bases = {
        node.name: [base.id for base in node.bases if isinstance(base, ast.Name)]
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    }
    errors = [name for name, parents in bases.items() if parents and parents[0] != "IntEnum"]
    assert "InvalidArgument" in errors
    for name in errors:
        assert f" {name} " in drawing, name
