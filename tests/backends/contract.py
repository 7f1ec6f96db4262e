"""What every backend keeps: a module with a `CASE` in `tests/backends/cases` is all it takes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from salver.backends.registry import Backends
from salver.backends.tensorflow import TensorFlowLoader
from salver.core.backend import BackendOptions
from salver.core.servable import Loader

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class BackendCase:
    """A small model of one framework, in two variants whose answers differ."""

    platform: str
    """The name of the backend."""
    make: Callable[[Path, int], Mapping[str, np.ndarray]]
    """Write a variant into a folder that exists, and return the framework's own answer to
    `inputs`. Runs in a child process: import the framework in it, not at the top of the module.
    """
    inputs: Mapping[str, np.ndarray]
    """Three rows at least, no two alike, by the names that clients use."""
    model_file: str
    """The file in the folder that a load reads first; it is damaged, to see what happens."""
    newer: Callable[[bytes], bytes] | None = None
    """Makes the content of that file one of a format that the framework does not know yet."""
    make_large: Callable[[Path, int], None] | None = None
    """Write a model that takes about so many bytes of memory once it is loaded."""
    frameworks: Sequence[str] = ()
    """Top-level modules that must not be imported before a model needs them."""
    needs: str = ""
    """The module without which the tests of this case are skipped; else the first framework."""
    own_checks: bool = False
    """Whether the framework, not `InputCheck`, looks at types and shapes of inputs."""
    swaps: int = 50
    """How often a version takes the place of another under load. Less where a load starts
    processes that import their framework for seconds."""
    tolerance: float = 1e-5
    """Relative; batches may add up in another order."""
    labels: Sequence[str] = ()
    """Of a classifier: its classes, in the order in which Classify has them."""
    scores: Callable[[Arrays], np.ndarray] | None = None
    """What Classify should tell, from the answers to `inputs`: shape [rows, classes]. Without it,
    the model is not asked that."""
    in_server: bool = False
    """Whether it stays in the server's process though its like do not: of many loads, each would
    start processes that import its framework anew."""

    @property
    def rows(self) -> int:
        return len(next(iter(self.inputs.values())))


def is_there(case: BackendCase) -> bool:
    """Whether what the case needs is installed."""
    needs = case.needs or next(iter(case.frameworks), "")
    return not needs or find_spec(needs) is not None


def loader_of(platform: str, path: str, **options: Any) -> Loader:
    """As the server makes it, with consent to pickles and code unless `options` differ."""
    if platform == "tensorflow":
        return TensorFlowLoader(path)
    allowed: dict[str, Any] = {"allow_pickle": True, "allow_python_code": True, **options}
    return (
        Backends()
        .named(platform)
        .loader(path, BackendOptions(model_name="m", concurrency=2, **allowed))
    )


def assert_alike(
    found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], case: BackendCase
) -> None:
    """The same names, types and shapes, and values but for rounding."""
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        assert found[name].shape == array.shape, name
        if array.dtype.kind == "O":
            assert found[name].tolist() == array.tolist(), name
        else:
            np.testing.assert_allclose(found[name], array, case.tolerance, 1e-6, err_msg=name)
