"""Programs of a PyTorch model: from arrays to a call with tensors, and back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from salver.backends.functions import FailingProgram
from salver.backends.input_check import InputCheck
from salver.backends.signature_def import signature_def_map_of
from salver.backends.torch_device import Device
from salver.backends.torch_tensors import array_of, run_error
from salver.core.data_type import DataType, data_type_of
from salver.core.servable import Program
from salver.core.signature import Signature, TensorSpec
from salver.errors import InternalError, InvalidArgument, ServingError, Unavailable


@dataclass(frozen=True)
class TorchModel:
    """A model that was loaded: what it takes and gives, and how it is called."""

    signature: Signature
    call: Callable[[Sequence[Any]], Sequence[Any]]
    """From tensors in the order of the inputs to values in the order of the outputs. From any
    thread. A ServingError is one of the request, whatever else comes is PyTorch's."""
    is_declared: bool
    """Whether types and shapes of the inputs are known; else any are taken."""
    declares_outputs: bool
    device: Device
    """Where the call expects its tensors."""


class TorchServable:
    """A loaded model with its one signature. From any thread."""

    def __init__(self, torch: Any, model_name: str, model: TorchModel) -> None:
        self._torch = torch
        self._models = [model]
        self._signature = model.signature
        self._model_name = model_name
        self.signatures: Mapping[str, Signature] = {model.signature.name: model.signature}
        self.signature_def_map = signature_def_map_of([model.signature])

    def program(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> Program:
        """Resolve names of inputs and outputs; all outputs are computed, whichever are fetched.

        A name that the model does not have, or an input that is not fed, is an error of every run.
        """
        inputs = [spec.name for spec in self._signature.inputs.values()]
        outputs = [spec.name for spec in self._signature.outputs.values()]
        if sorted(feeds) != sorted(inputs) or not set(fetches) <= set(outputs):
            return FailingProgram(
                f"Model {self._model_name} has no way from {', '.join(feeds)} "
                f"to {', '.join(fetches)}"
            )
        order = [feeds.index(name) for name in inputs]
        chosen = [outputs.index(name) for name in fetches]
        return _ModelProgram(self._torch, self._models, self._model_name, order, chosen)

    def close(self) -> None:
        """Let the model go; programs only fail from now on."""
        self._models.clear()


class _ModelProgram:
    def __init__(
        self,
        torch: Any,
        models: Sequence[TorchModel],
        model_name: str,
        order: Sequence[int],
        chosen: Sequence[int],
    ) -> None:
        # Not the model itself: programs outlive the version, what it holds must not.
        self._models = models
        self._torch = torch
        # What `torch.inference_mode` wraps in Python, which takes twice as long.
        self._inference_mode = getattr(torch._C, "_InferenceMode", torch.inference_mode)
        self._model_name = model_name
        self._order = order
        self._chosen = chosen
        model = models[0]
        self._device = model.device
        self._check = InputCheck(model_name, model.signature) if model.is_declared else None
        self._names = list(model.signature.inputs)
        outputs = list(model.signature.outputs.items())
        self._declared = [outputs[place] for place in chosen] if model.declares_outputs else []

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        arrays: Sequence[np.ndarray] = [inputs[i] for i in self._order]
        arrays = self._any_numbers(arrays) if self._check is None else self._check(arrays)
        try:
            model = self._models[0]
        except IndexError:
            raise Unavailable(f"Model {self._model_name}: the version is unloaded") from None
        torch, tensor = self._torch, self._device.tensor
        try:
            with self._inference_mode(True):
                values = model.call([tensor(array) for array in arrays])
                outputs = [array_of(torch, values[place]) for place in self._chosen]
        except ServingError:
            raise
        except Exception as error:
            raise self._device.lost(error) or run_error(error, self._model_name) from error
        for (alias, spec), array in zip(self._declared, outputs, strict=False):
            if data_type_of(array.dtype) is not spec.data_type:
                raise self._undeclared(alias, spec, array)
        return outputs

    def _any_numbers(self, arrays: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        for name, array in zip(self._names, arrays, strict=True):
            if data_type_of(array.dtype) in (DataType.STRING, DataType.INVALID):
                raise InvalidArgument(
                    f'Model {self._model_name}: expects input "{name}" to be numbers '
                    f"but {data_type_of(array.dtype).short_name} is provided"
                )
        return arrays

    def _undeclared(self, alias: str, spec: TensorSpec, array: np.ndarray) -> InternalError:
        return InternalError(
            f'Model {self._model_name}: output "{alias}" is declared as '
            f"{spec.data_type.short_name}, but {data_type_of(array.dtype).short_name} was computed"
        )
