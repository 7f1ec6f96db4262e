"""The calls of TensorFlow Serving's REST API: JSON from arrays, and results from JSON.

JSON names no types. So the signature of the version that answers is asked for once and kept: by
it the answer becomes arrays of the declared types, with nothing lost on the way.
"""

import json
from collections.abc import Callable, Collection, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
from google.protobuf import json_format
from google.protobuf.message import Message

from salver.client.example_features import Example, json_form
from salver.client.exchange import Answer, Call, Operation
from salver.client.known_metadata import KnownMetadata, signature_in
from salver.client.message_results import (
    TELLS_NO_NAMES,
    classification_of_rows,
    metadata_of,
    statuses_of,
)
from salver.client.model_choice import ModelChoice
from salver.client.rest_tensors import encode_inputs, outputs_of
from salver.client.results import (
    Classification,
    ModelMetadata,
    Prediction,
    Regression,
    Task,
    VersionStatus,
)
from salver.client.typed_inputs import Inputs, arrays_of, fitted
from salver.codecs.messages import WireMessage, message_class
from salver.core.nearest import nearest
from salver.core.signature import DEFAULT_SIGNATURE, Signature
from salver.errors import InternalError, InvalidArgument, NotFound, Unimplemented

VERSION_HEADER = "salver-model-version"
"""Sent with a request, it asks a Salver server which version answers; the answer has it too."""


class RestProtocol:
    """Operations over REST. From any thread."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._known = KnownMetadata(clock, self.metadata)

    def predict(
        self, choice: ModelChoice, inputs: Inputs, outputs: Collection[str]
    ) -> Operation[Prediction]:
        arrays = yield from arrays_of(inputs, lambda: self._known.signature(choice))
        metadata = yield from self._known.of(choice)
        signature = signature_in(metadata, choice.signature)
        _check_outputs(outputs, signature)
        try:
            arrays = fitted(arrays, signature)
        except InvalidArgument:
            # Another version, which takes them, may be there by now.
            metadata = yield from self.metadata(choice)
            arrays = fitted(arrays, signature_in(metadata, choice.signature))
        body = encode_inputs(arrays, choice.signature)
        answer = yield Call(f"{_path(choice)}:predict", body)
        version = _version_told(answer, choice)
        if version is not None and version != metadata.version:
            # Another version has taken over since.
            metadata = yield from self._known.of(ModelChoice(choice.model, version))
            self._known.keep(choice, metadata)
        signature = signature_in(metadata, choice.signature)
        results = outputs_of(answer.body, signature)
        if outputs:
            results = {name: results[name] for name in outputs}
        return Prediction(results, choice.model, version, signature.name)

    def classify(
        self, choice: ModelChoice, examples: Sequence[Example], context: Example | None
    ) -> Operation[Classification]:
        body = _examples_body(choice, examples, context)
        answer = yield Call(f"{_path(choice)}:classify", body)
        try:
            rows = [
                [(str(label), float(score)) for label, score in row] for row in _results(answer)
            ]
        except (TypeError, ValueError) as error:
            raise InternalError("the server's answer has no labels and scores") from error
        return classification_of_rows(rows, *_told(answer, choice))

    def regress(
        self, choice: ModelChoice, examples: Sequence[Example], context: Example | None
    ) -> Operation[Regression]:
        body = _examples_body(choice, examples, context)
        answer = yield Call(f"{_path(choice)}:regress", body)
        try:
            values = np.array([float(value) for value in _results(answer)], np.float32)
        except (TypeError, ValueError) as error:
            raise InternalError("the server's answer has no values") from error
        return Regression(values, *_told(answer, choice))

    def multi_inference(
        self,
        choice: ModelChoice,
        tasks: Sequence[Task],
        examples: Sequence[Example],
        context: Example | None,
    ) -> Operation[tuple[Classification | Regression, ...]]:
        raise Unimplemented("the REST API has no multi-inference: use the server's gRPC address")

    def metadata(self, choice: ModelChoice) -> Operation[ModelMetadata]:
        answer = yield Call(f"{_path(choice)}/metadata", None)
        document = _json(answer)
        try:
            spec = _message("tensorflow.serving.ModelSpec", document["model_spec"])
            definitions = _message(
                "tensorflow.serving.SignatureDefMap", document["metadata"]["signature_def"]
            )
        except (KeyError, TypeError, json_format.ParseError) as error:
            raise InternalError(
                f"the server's answer is no metadata of a model: {error}"
            ) from error
        metadata = metadata_of(spec, definitions.SerializeToString())
        self._known.keep(choice, metadata)
        return metadata

    def status(self, choice: ModelChoice) -> Operation[tuple[VersionStatus, ...]]:
        answer = yield Call(_path(choice), None)
        try:
            return statuses_of(_message("tensorflow.serving.GetModelStatusResponse", _json(answer)))
        except json_format.ParseError as error:
            raise InternalError(f"the server's answer is no status of a model: {error}") from error

    def models(self) -> Operation[tuple[str, ...]]:
        try:
            answer = yield Call("/salver/models", None)
        except (InvalidArgument, NotFound, Unimplemented) as error:
            raise Unimplemented(TELLS_NO_NAMES) from error
        try:
            return tuple(map(str, _json(answer)["models"]))
        except (KeyError, TypeError) as error:
            raise InternalError("the server's answer is no list of models") from error

    def reload_config(self, config: str | Message) -> Operation[None]:
        raise Unimplemented("the REST API cannot reload the config: use the server's gRPC address")


def _path(choice: ModelChoice) -> str:
    path = f"/v1/models/{quote(choice.model, safe='')}"
    if choice.version is not None:
        return f"{path}/versions/{choice.version}"
    if choice.label is not None:
        return f"{path}/labels/{quote(choice.label, safe='')}"
    return path


def _told(answer: Answer, choice: ModelChoice) -> tuple[str, int | None, str]:
    """Model, version and signature of an answer."""
    return choice.model, _version_told(answer, choice), choice.signature or DEFAULT_SIGNATURE


def _version_told(answer: Answer, choice: ModelChoice) -> int | None:
    told = answer.headers.get(VERSION_HEADER, "")
    return int(told) if told.isascii() and told.isdigit() else choice.version


def _check_outputs(outputs: Collection[str], signature: Signature) -> None:
    for name in outputs:
        if name not in signature.outputs:
            raise InvalidArgument(
                f"signature {signature.name!r} has no output {name!r}"
                f"{nearest(name, signature.outputs)}"
            )


def _examples_body(
    choice: ModelChoice, examples: Sequence[Example], context: Example | None
) -> bytes:
    fields: dict[str, Any] = {"examples": [json_form(example) for example in examples]}
    if choice.signature:
        fields["signature_name"] = choice.signature
    if context is not None:
        fields["context"] = json_form(context)
    return json.dumps(fields).encode()


def _results(answer: Answer) -> list[Any]:
    try:
        results = _json(answer)["results"]
    except (KeyError, TypeError) as error:
        raise InternalError("the server's answer has no member 'results'") from error
    if not isinstance(results, list):
        raise InternalError("the server's answer has no list of results")
    return results


def _json(answer: Answer) -> Any:
    try:
        return json.loads(answer.body.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise InternalError(f"the server's answer is no JSON: {error}") from error


def _message(full_name: str, fields: Any) -> WireMessage:
    return json_format.ParseDict(fields, message_class(full_name)(), ignore_unknown_fields=True)
