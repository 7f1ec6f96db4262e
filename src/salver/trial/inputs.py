"""The inputs of a trial: all that the flags give, as arrays that fit the signature."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from salver.core.nearest import nearest
from salver.core.signature import Signature
from salver.errors import InvalidArgument
from salver.trial.array_files import loaded_array
from salver.trial.assignments import file_assignments, text_assignments
from salver.trial.example_inputs import examples_of
from salver.trial.expressions import evaluated
from salver.trial.fitting import fitted
from salver.trial.given_text import told
from salver.trial.image_files import ImageOptions, image_input
from salver.trial.request_file import RequestFile
from salver.trial.table_file import table_inputs

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenInputs:
    """The flags, as they were given; empty where they were not."""

    files: str = ""
    expressions: str = ""
    examples: str = ""
    images: str = ""
    json: str = ""
    csv: str = ""
    allow_pickle: bool = False
    image_options: ImageOptions = field(default_factory=ImageOptions)

    def is_empty(self) -> bool:
        """Whether no input is given in any form."""
        forms = (self.files, self.expressions, self.examples, self.images, self.json, self.csv)
        return not any(forms)


class Inputs:
    """What needs no signature is read and computed when this is made, the rest in `arrays`."""

    def __init__(self, given: GivenInputs) -> None:
        """Read files and evaluate expressions.

        Raises:
            ServingError: one line about the first that is wrong.
        """
        self._given = given
        self._request = RequestFile.read(given.json) if given.json else None
        self.signature_name = self._request.signature_name if self._request else ""
        """The signature that a request body asks for; empty if none does."""
        self._ready: dict[str, np.ndarray] = {}
        self._sources: dict[str, str] = {}
        for name, file in file_assignments("--inputs", given.files).items():
            self._add(name, loaded_array(file, allow_pickle=given.allow_pickle), "--inputs")
        self._add_texts("--input_exprs", given.expressions, "NAME=EXPRESSION", evaluated)
        self._add_texts(
            "--input_examples", given.examples, 'NAME=[{"feature": [values]}]', examples_of
        )
        self._images = text_assignments("--images", given.images, "NAME=FILE[,FILE...]")

    def _add_texts(
        self, flag: str, text: str, form: str, value_of: Callable[[str], np.ndarray]
    ) -> None:
        for name, value in text_assignments(flag, text, form).items():
            with told(f"{flag}: {name}"):
                self._add(name, value_of(value), flag)

    def _add(self, name: str, array: np.ndarray, flag: str) -> None:
        self._ready[name] = array
        before = self._sources.get(name)
        if before:
            logger.warning("input %s is given by %s and %s: the latter counts", name, before, flag)
        self._sources[name] = flag

    def arrays(self, signature: Signature) -> dict[str, np.ndarray]:
        """All inputs by name, each of the declared type and shape. To be called once.

        Raises:
            ServingError: one line about the first that is wrong.
        """
        given = self._given
        if self._request is not None:
            self._add_all(self._request.inputs(signature), "--request")
        if given.csv:
            self._add_all(table_inputs(given.csv, signature), "--csv")
        for name, pattern in self._images.items():
            _require_input(name, signature)
            with told("--images"):
                spec = signature.inputs[name]
                self._add(name, image_input(name, pattern, spec, given.image_options), "--images")
        for name in self._ready:
            _require_input(name, signature)
        _require_all(self._ready, signature)
        return {
            name: fitted(name, self._ready[name], spec)
            for name, spec in signature.inputs.items()
            if name in self._ready
        }

    def _add_all(self, arrays: Mapping[str, np.ndarray], flag: str) -> None:
        for name, array in arrays.items():
            self._add(name, array, flag)


def _require_input(name: str, signature: Signature) -> None:
    if name not in signature.inputs:
        known = nearest(name, signature.inputs)
        raise InvalidArgument(f"signature {signature.name!r} has no input {name!r}{known}")


def _require_all(arrays: Mapping[str, np.ndarray], signature: Signature) -> None:
    missing = [
        name for name in signature.inputs if name not in arrays and name not in signature.defaults
    ]
    if missing:
        given = ", ".join(arrays) or "nothing"
        raise InvalidArgument(
            f"signature {signature.name!r} needs {', '.join(missing)}, too; {given} is given"
        )
