"""Before and after the model: `pipeline.py` in the version folder of any backend.

Its functions `before` and `after`, one of them or both, stand around the default signature:

    def before(text: Annotated[NDArray[np.str_], (None,)]) -> dict[str, np.ndarray]: ...
    def after(scores: np.ndarray, text: np.ndarray) -> Annotated[NDArray[np.str_], (None,)]: ...

Clients see the parameters of `before` and the result of `after`; their type hints tell the
types. What `before` gives are the model's inputs by name, or its only one. The parameters of
`after` are the model's outputs by name, as many as it wants, and what clients have sent, too.
"""

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

from salver.backends.detecting import PIPELINE
from salver.backends.functions import FunctionServable, as_declared
from salver.backends.package_requirements import require_packages
from salver.backends.prerequisites import require_code_allowed
from salver.backends.signature_def import with_signature
from salver.backends.type_hints import ArrayHint, as_str, hinted_inputs, hinted_outputs, parts
from salver.backends.version_code import VersionCode, told
from salver.core.backend import BackendOptions
from salver.core.data_type import numpy_type_of
from salver.core.servable import Loader, Program, Servable
from salver.core.signature import DEFAULT_SIGNATURE, Signature, TensorSpec
from salver.errors import FailedPrecondition, InternalError, ServingError

logger = logging.getLogger(__name__)


class PipelineLoader:
    """Loads what another loader loads, and puts the version's pipeline around it."""

    def __init__(self, path: str, loader: Loader, options: BackendOptions) -> None:
        self._folder = Path(path)
        self._loader = loader
        self._options = options
        self._code: VersionCode | None = None
        self._outer: FunctionServable | None = None

    def load(self) -> Servable:
        """Load the model, then the pipeline. From a load thread.

        Raises:
            PermissionDenied: code of versions is not allowed.
            ServingError: the model cannot be loaded, or the pipeline does not fit it.
        """
        require_code_allowed(PIPELINE, self._options)
        require_packages(self._folder, self._options)
        servable = self._loader.load()
        try:
            self._code = VersionCode(self._folder)
            module = self._code.module(PIPELINE, f"Model {self._options.model_name}")
            pipeline = _Pipeline(module, self._folder, servable, self._options.model_name)
        except BaseException:
            self.unload()
            raise
        self._outer = FunctionServable(
            self._options.model_name, [(pipeline.signature, pipeline.run)]
        )
        return _PipelineServable(servable, self._outer)

    def unload(self) -> None:
        """See `Loader.unload`."""
        if self._outer is not None:
            self._outer.close()
            self._outer = None
        if self._code is not None:
            self._code.forget()
            self._code = None
        self._loader.unload()


class _PipelineServable:
    """The model with another default signature."""

    def __init__(self, inner: Servable, outer: FunctionServable) -> None:
        self._inner = inner
        self._outer = outer
        signature = outer.signatures[DEFAULT_SIGNATURE]
        self.signatures: Mapping[str, Signature] = {**inner.signatures, signature.name: signature}
        self.signature_def_map = with_signature(inner.signature_def_map, signature)
        specs = (*signature.inputs.values(), *signature.outputs.values())
        self._names = {spec.name for spec in specs}

    def program(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> Program:
        servable = self._outer if self._names.issuperset((*feeds, *fetches)) else self._inner
        return servable.program(feeds, fetches)


class _Pipeline:
    """The two hooks and the model's program between them."""

    def __init__(
        self, module: ModuleType, folder: Path, servable: Servable, model_name: str
    ) -> None:
        self._where = f"Model {model_name}"
        self._folder = folder
        if DEFAULT_SIGNATURE not in servable.signatures:
            raise FailedPrecondition(
                f"{self._where}: {PIPELINE} stands around {DEFAULT_SIGNATURE}, "
                "which the model does not have"
            )
        inner = self._inner = servable.signatures[DEFAULT_SIGNATURE]
        self._program = servable.program(
            tuple(spec.name for spec in inner.inputs.values()),
            tuple(spec.name for spec in inner.outputs.values()),
        )
        self._before = getattr(module, "before", None)
        self._after = getattr(module, "after", None)
        if self._before is None and self._after is None:
            raise FailedPrecondition(f"{self._where}: {PIPELINE} has neither before nor after")
        try:
            self._inputs = _hints(inner.inputs)
            if self._before is not None:
                self._inputs = hinted_inputs(self._before)
            self._outputs = _hints(inner.outputs)
            if self._after is not None:
                self._outputs = hinted_outputs(self._after)
            self._wanted = self._wanted_of(self._after)
        except ValueError as error:
            raise FailedPrecondition(f"{self._where}: {PIPELINE}: {error}") from error
        self.signature = Signature(
            DEFAULT_SIGNATURE,
            {name: hint.spec for name, hint in self._inputs.items()},
            {name: hint.spec for name, hint in self._outputs.items()},
            inner.method_name,
            inner.defaults if self._before is None else {},
        )

    def _wanted_of(self, after: Callable[..., object] | None) -> Sequence[str]:
        """What `after` is called with.

        Raises:
            ValueError: there is no such output or input.
        """
        if after is None:
            return ()
        wanted = list(inspect.signature(after).parameters)
        known = {**self._inner.outputs, **self._inputs}
        for name in wanted:
            if name not in known:
                raise ValueError(f"after({name}) is none of {', '.join(known)}")
        return wanted

    def run(self, arrays: Sequence[np.ndarray]) -> list[object]:
        """From what clients send to what they get; a `Function` of `FunctionServable`."""
        sent = dict(zip(self._inputs, arrays, strict=True))
        fed = list(arrays) if self._before is None else self._fed(self._called(self._before, sent))
        computed = dict(zip(self._inner.outputs, self._program.run(fed), strict=True))
        if self._after is None:
            return list(computed.values())
        known = {**sent, **computed}
        result = self._called(self._after, {name: known[name] for name in self._wanted})
        named = parts(result)
        if named is None:
            return [result]
        missing = [name for name in self._outputs if name not in named]
        if missing:
            raise InternalError(f"{self._where}: after gave no {', '.join(missing)}")
        return [named[name] for name in self._outputs]

    def _called(self, hook: Callable[..., object], arrays: Mapping[str, np.ndarray]) -> object:
        given = {
            name: as_str(array) if name in self._inputs and self._inputs[name].as_str else array
            for name, array in arrays.items()
        }
        try:
            return hook(**given)
        except (ServingError, ValueError):
            raise
        except Exception as error:
            logger.exception("%s: %s failed", self._where, PIPELINE)
            raise InternalError(f"{self._where}: {told(error, self._folder)}") from error

    def _fed(self, result: object) -> list[np.ndarray]:
        """What `before` gave, as the inputs of the model."""
        inputs = self._inner.inputs
        named = parts(result)
        if named is None:
            if len(inputs) != 1:
                raise InternalError(
                    f"{self._where}: before must give the inputs {', '.join(inputs)} by name"
                )
            named = {next(iter(inputs)): result}
        unknown = [name for name in named if name not in inputs]
        if unknown:
            raise InternalError(
                f"{self._where}: before gave {', '.join(unknown)}, "
                f"but the inputs are {', '.join(inputs)}"
            )
        return [self._input(name, spec, named) for name, spec in inputs.items()]

    def _input(self, name: str, spec: TensorSpec, given: Mapping[str, object]) -> np.ndarray:
        if name not in given:
            default = self._inner.defaults.get(name)
            if default is None:
                raise InternalError(f"{self._where}: before gave no {name}")
            return default
        declared = numpy_type_of(spec.data_type)
        assert declared is not None
        try:
            return as_declared(given[name], declared)
        except (TypeError, ValueError) as error:
            raise InternalError(
                f"{self._where}: before gave {name}, which is declared as {declared}, but {error}"
            ) from error


def _hints(specs: Mapping[str, TensorSpec]) -> dict[str, ArrayHint]:
    """Of a signature whose functions want what is sent."""
    return {name: ArrayHint(spec) for name, spec in specs.items()}
