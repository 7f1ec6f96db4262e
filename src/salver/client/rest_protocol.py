"""The calls of TensorFlow Serving's REST API: JSON from arrays, and results from JSON.

JSON names no types. So the signature of the version that answers is asked for once and kept: by
it the answer becomes arrays of the declared types, with nothing lost on the way.
"""

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any
from urllib.parse import quote

import numpy as np
from google.protobuf import json_format

from salver.client.exchange import Answer, Call, Operation
from salver.client.message_results import metadata_of, statuses_of
from salver.client.model_choice import ModelChoice
from salver.client.rest_tensors import encode_inputs, outputs_of
from salver.client.results import ModelMetadata, Prediction, VersionStatus
from salver.codecs.messages import WireMessage, message_class
from salver.core.signature import DEFAULT_SIGNATURE, Signature
from salver.errors import InternalError, NotFound

VERSION_HEADER = "salver-model-version"
"""Sent with a request, it asks a Salver server which version answers; the answer has it too."""
_FRESH_S = 10.0


class RestProtocol:
    """Operations over REST. From any thread.

    Args:
        clock: seconds, to tell how old a kept signature is.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: dict[tuple[str, int | None, str | None], tuple[float, ModelMetadata]] = {}

    def predict(
        self, choice: ModelChoice, inputs: Mapping[str, np.ndarray], outputs: Collection[str]
    ) -> Operation[Prediction]:
        metadata = yield from self._metadata(choice)
        body = encode_inputs(inputs, choice.signature)
        answer = yield Call(f"{_path(choice)}:predict", body)
        version = _version_told(answer)
        if version is None:
            version = choice.version
        elif version != metadata.version:
            # Another version has taken over since.
            metadata = yield from self._metadata(ModelChoice(choice.model, version))
            self._keep(choice, metadata)
        signature = _signature(metadata, choice.signature)
        arrays = outputs_of(answer.body, signature)
        chosen = (
            {name: arrays[name] for name in _checked(outputs, signature)} if outputs else arrays
        )
        return Prediction(chosen, choice.model, version, signature.name)

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
        self._keep(choice, metadata)
        return metadata

    def status(self, choice: ModelChoice) -> Operation[tuple[VersionStatus, ...]]:
        answer = yield Call(_path(choice), None)
        try:
            return statuses_of(_message("tensorflow.serving.GetModelStatusResponse", _json(answer)))
        except json_format.ParseError as error:
            raise InternalError(f"the server's answer is no status of a model: {error}") from error

    def _metadata(self, choice: ModelChoice) -> Operation[ModelMetadata]:
        """The metadata that is known, or the server's."""
        known = self._known.get((choice.model, choice.version, choice.label))
        # A version stays what it is, but the latest one is soon another.
        if known and (choice.version is not None or self._clock() - known[0] < _FRESH_S):
            return known[1]
        return (yield from self.metadata(choice))

    def _keep(self, choice: ModelChoice, metadata: ModelMetadata) -> None:
        self._known[choice.model, choice.version, choice.label] = (self._clock(), metadata)


def _path(choice: ModelChoice) -> str:
    path = f"/v1/models/{quote(choice.model, safe='')}"
    if choice.version is not None:
        return f"{path}/versions/{choice.version}"
    if choice.label is not None:
        return f"{path}/labels/{quote(choice.label, safe='')}"
    return path


def _version_told(answer: Answer) -> int | None:
    told = answer.headers.get(VERSION_HEADER, "")
    return int(told) if told.isascii() and told.isdigit() else None


def _signature(metadata: ModelMetadata, name: str) -> Signature:
    wanted = name or DEFAULT_SIGNATURE
    signature = metadata.signatures.get(wanted)
    if signature is None:
        raise NotFound(
            f"version {metadata.version} of model {metadata.name} has no signature {wanted!r}"
        )
    return signature


def _checked(outputs: Collection[str], signature: Signature) -> Collection[str]:
    for name in outputs:
        if name not in signature.outputs:
            raise NotFound(f"signature {signature.name!r} has no output {name!r}")
    return outputs


def _json(answer: Answer) -> Any:
    try:
        return json.loads(answer.body.decode("utf-8", "replace"))
    except ValueError as error:
        raise InternalError(f"the server's answer is no JSON: {error}") from error


def _message(full_name: str, fields: Any) -> WireMessage:
    return json_format.ParseDict(fields, message_class(full_name)(), ignore_unknown_fields=True)
