"""A class in `model.py` as a servable: found, made, loaded, and called with arrays."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from salver.backends.functions import FunctionServable
from salver.backends.type_hints import ArrayHint, as_str, hinted_inputs, hinted_outputs, parts
from salver.backends.version_code import told
from salver.core.signature import DEFAULT_SIGNATURE, Signature
from salver.errors import FailedPrecondition, InternalError, ServingError

logger = logging.getLogger(__name__)

_CLASS = "Model"


class PythonModel:
    """An object of the class of a `model.py`, which is loaded and can predict."""

    def __init__(self, module: ModuleType, folder: Path, model_name: str) -> None:
        """Make the object and have it load.

        Raises:
            FailedPrecondition: there is no such class, its hints tell no signature, or it fails.
        """
        self._folder = folder
        self._where = f"Model {model_name}"
        self._model = self._made(_class_of(module, self._where))
        steps = [
            step
            for name in ("preprocess", "predict", "postprocess")
            if (step := getattr(self._model, name, None)) is not None
        ]
        self._steps: list[Callable[..., object]] = steps
        try:
            self._inputs = hinted_inputs(steps[0])
            self._outputs = hinted_outputs(steps[-1])
        except ValueError as error:
            raise FailedPrecondition(f"{self._where}: model.py: {error}") from error
        self._names = list(self._inputs)

    def servable(self, model_name: str) -> FunctionServable:
        signature = Signature(
            DEFAULT_SIGNATURE,
            {name: hint.spec for name, hint in self._inputs.items()},
            {name: hint.spec for name, hint in self._outputs.items()},
        )
        return FunctionServable(model_name, [(signature, self._run)])

    def unload(self) -> None:
        """Let the object free what it has, if it has a method for that."""
        unload = getattr(self._model, "unload", None)
        if unload is not None:
            try:
                unload()
            except Exception:
                logger.exception("%s: unload failed", self._where)

    def _made(self, class_: type) -> Any:
        try:
            model = class_()
            if hasattr(model, "load"):
                model.load(self._folder)
        except ServingError:
            raise
        except Exception as error:
            logger.exception("%s: model.py cannot load", self._where)
            raise FailedPrecondition(
                f"{self._where}: model.py cannot load: {told(error, self._folder)}"
            ) from error
        return model

    def _run(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        given: object = {
            name: as_str(array) if self._inputs[name].as_str else array
            for name, array in zip(self._names, arrays, strict=True)
        }
        try:
            for step in self._steps:
                given = _called(step, given)
        except (ServingError, ValueError):
            raise
        except Exception as error:
            logger.exception("%s: model.py failed", self._where)
            raise InternalError(f"{self._where}: {told(error, self._folder)}") from error
        return _in_order(given, self._outputs, self._where)


def _class_of(module: ModuleType, where: str) -> type:
    own = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and value.__module__ == module.__name__
        and callable(getattr(value, "predict", None))
    ]
    named = [value for value in own if value.__name__ == _CLASS] or own
    if len(named) != 1:
        found = ", ".join(value.__name__ for value in named) or "none"
        raise FailedPrecondition(
            f"{where}: model.py must have one class with a method predict, or one of these "
            f"called {_CLASS}; found: {found}"
        )
    return named[0]


def _called(step: Callable[..., object], given: object) -> object:
    """A step with what the one before it gave: by name, in order, or as the one argument."""
    named = parts(given)
    if named is not None:
        return step(**named)
    if isinstance(given, tuple):
        return step(*given)
    return step(given)


def _in_order(result: object, outputs: Mapping[str, ArrayHint], where: str) -> list[Any]:
    named = parts(result)
    if named is None:
        return [result]
    missing = [name for name in outputs if name not in named]
    if missing:
        raise InternalError(f"{where}: model.py gave no output {', '.join(missing)}")
    return [named[name] for name in outputs]
