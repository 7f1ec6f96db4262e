"""A file with the JSON body of a REST request: `instances`, `inputs` or `examples`."""

import sys
from dataclasses import dataclass

import numpy as np

from salver.codecs.json_examples import ExamplesBody
from salver.codecs.json_parser import ABSENT, parse_members
from salver.codecs.json_request import PredictBody
from salver.core.data_type import DataType
from salver.core.signature import Signature
from salver.errors import InvalidArgument, NotFound
from salver.trial.given_text import told


@dataclass(frozen=True, slots=True)
class RequestFile:
    """The body as it lies in the file."""

    path: str
    body: bytes

    @staticmethod
    def read(path: str) -> "RequestFile":
        """Read it; `-` is the standard input.

        Raises:
            NotFound: there is no such file.
            InvalidArgument: it cannot be read.
        """
        if path == "-":
            return RequestFile("standard input", sys.stdin.buffer.read())
        try:
            with open(path, "rb") as file:
                return RequestFile(path, file.read())
        except FileNotFoundError as error:
            raise NotFound(f"{path}: there is no such file") from error
        except OSError as error:
            raise InvalidArgument(f"{path}: {error.strerror}") from error

    @property
    def signature_name(self) -> str:
        """The signature that the body asks for; empty if it names none.

        Raises:
            InvalidArgument: it is no JSON, or no object.
        """
        with told(self.path):
            return PredictBody.parse(self.body).signature_name

    def inputs(self, signature: Signature) -> dict[str, np.ndarray]:
        """The arrays, as the server would read them for this signature.

        Raises:
            InvalidArgument: they do not fit it, in the words of the server.
        """
        with told(self.path):
            members = parse_members(self.body, (b"examples",))
            if members is not None and members[0] is not ABSENT:
                return {_input_of_examples(signature): ExamplesBody.parse(self.body).examples}
            return PredictBody.parse(self.body).inputs(signature)


def _input_of_examples(signature: Signature) -> str:
    if len(signature.inputs) == 1:
        ((name, spec),) = signature.inputs.items()
        if spec.data_type is DataType.STRING:
            return name
    raise InvalidArgument(
        f"it holds examples, but signature {signature.name!r} does not take them: its inputs are "
        f"{', '.join(signature.inputs)}"
    )
