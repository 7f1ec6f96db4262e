from dataclasses import dataclass
from pathlib import Path
from typing import Any

from salver.backends.tflite_first import TfLiteFirstLoader


@dataclass
class FakeLoader:
    name: str
    unloads: int = 0

    def load(self) -> Any:
        return self.name

    def unload(self) -> None:
        self.unloads += 1


def loaders(path: Path) -> tuple[TfLiteFirstLoader, FakeLoader, FakeLoader]:
    tflite, other = FakeLoader("tflite"), FakeLoader("other")
    return TfLiteFirstLoader(str(path), tflite, other), tflite, other


def test_the_file_is_taken_where_it_is(tmp_path: Path) -> None:
    loader, tflite, other = loaders(tmp_path)
    (tmp_path / "model.tflite").touch()
    (tmp_path / "saved_model.pb").touch()

    assert loader.load() == "tflite"  # type: ignore[comparison-overlap]
    loader.unload()

    assert (tflite.unloads, other.unloads) == (1, 0)


def test_without_the_file_the_other_loader_has_its_turn(tmp_path: Path) -> None:
    loader, tflite, other = loaders(tmp_path)

    assert loader.load() == "other"  # type: ignore[comparison-overlap]
    loader.unload()

    assert (tflite.unloads, other.unloads) == (0, 1)


def test_each_attempt_looks_again(tmp_path: Path) -> None:
    loader, _, _ = loaders(tmp_path)
    loader.load()
    (tmp_path / "model.tflite").touch()

    assert loader.load() == "tflite"  # type: ignore[comparison-overlap]


def test_what_was_never_loaded_is_not_unloaded(tmp_path: Path) -> None:
    loader, tflite, other = loaders(tmp_path)

    loader.unload()

    assert (tflite.unloads, other.unloads) == (0, 0)
