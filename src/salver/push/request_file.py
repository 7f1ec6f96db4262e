"""Files of requests and of expected answers: JSON and JSON lines as for REST, or arrays in npz.

A request is what the server takes, `{"instances": …}`, `{"inputs": …}` or `{"examples": …}`, with
`signature_name` where it is not the default one; an answer is what it gives to a prediction,
`{"predictions": …}` or `{"outputs": …}`, and may stand in the same object. An npz file is one
request, or one answer, of arrays by their names.
"""

import json
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from salver.codecs.json_request import PredictBody
from salver.core.data_type import DataType
from salver.core.nearest import nearest
from salver.core.signature import Signature, TensorSpec
from salver.errors import InvalidArgument, NotFound, ServingError
from salver.inspection.opening import OpenModel
from salver.push.question import Arrays, Question
from salver.trial.fitting import fitted
from salver.trial.given_text import told
from salver.trial.request_file import RequestFile

_ANSWERS = {"predictions": "instances", "outputs": "inputs"}
"""The member of an answer, and that of a request that has the same form."""


def read_questions(path: str, model: OpenModel, signature: str = "") -> list[Question]:
    """The requests in a file, read as the signatures of a model say.

    Args:
        path: ends in `.json`, `.jsonl` or `.npz`.
        model: tells names and types.
        signature: the one of requests that name none.

    Raises:
        NotFound: there is no such file, or the model has no such signature.
        InvalidArgument: it holds something else than requests.
    """
    if path.endswith(".npz"):
        chosen = model.signature(signature)
        return [Question(path, _fitted(_arrays(path), chosen, path), signature)]
    return [_question(document, origin, model, signature) for origin, document in _documents(path)]


def with_expected(questions: Sequence[Question], path: str, model: OpenModel) -> list[Question]:
    """The same requests, with the answers in a file, one for each.

    Raises:
        NotFound: there is no such file.
        InvalidArgument: it holds something else than answers, or not as many.
    """
    answers: list[tuple[str, Any]]
    answers = [(path, _arrays(path))] if path.endswith(".npz") else _documents(path)
    if len(answers) != len(questions):
        raise InvalidArgument(
            f"{path} has {len(answers)} answers, and there are {len(questions)} requests"
        )
    return [
        replace(question, expected=_expected(answer, origin, model.signature(question.signature)))
        for question, (origin, answer) in zip(questions, answers, strict=True)
    ]


def _question(document: Any, origin: str, model: OpenModel, signature: str) -> Question:
    if not isinstance(document, dict):
        raise InvalidArgument(
            f"{origin}: a request is an object with 'instances' or 'inputs', not {_kind(document)}"
        )
    request = RequestFile(origin, json.dumps(document).encode())
    name = request.signature_name or signature
    inputs = request.inputs(model.signature(name))
    question = Question(origin, inputs, name)
    if not any(member in document for member in _ANSWERS):
        return question
    return replace(question, expected=_expected(document, origin, model.signature(name)))


def _expected(answer: Any, origin: str, signature: Signature) -> Arrays:
    """Outputs in JSON are read as inputs of the same names and types would be."""
    if (
        isinstance(answer, dict)
        and answer
        and all(isinstance(value, np.ndarray) for value in answer.values())
    ):
        for name in answer:
            if name not in signature.outputs:
                known = nearest(name, signature.outputs)
                raise InvalidArgument(f"{origin}: there is no output {name!r}{known}")
        return {name: _as_given(array, signature.outputs[name]) for name, array in answer.items()}
    found = [m for m in _ANSWERS if m in answer] if isinstance(answer, dict) else []
    if len(found) != 1:
        raise InvalidArgument(
            f"{origin}: an answer is an object with 'predictions' or 'outputs', not {_kind(answer)}"
        )
    (member,) = found
    value = answer[member]
    named = _named(value, member, signature)
    outputs = Signature(
        signature.name,
        {name: spec for name, spec in signature.outputs.items() if named is None or name in named},
        {},
    )
    body = json.dumps({_ANSWERS[member]: value}).encode()
    try:
        return PredictBody.parse(body).inputs(outputs)
    except ServingError as error:
        raise InvalidArgument(f"{origin}: {error.message}") from error


def _as_given(array: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """Text as the bytes that a servable gives."""
    if spec.data_type is not DataType.STRING:
        return array
    return fitted("", array, TensorSpec("", DataType.STRING, None))


def _named(value: Any, member: str, signature: Signature) -> set[str] | None:
    """The outputs that an answer names, None if it names none: then it is of all, or the only."""
    first = value[0] if member == "predictions" and isinstance(value, list) and value else value
    if not isinstance(first, dict) or "b64" in first:
        return None
    for name in first:
        if name not in signature.outputs:
            known = nearest(name, signature.outputs)
            raise InvalidArgument(f"There is no output {name!r} to expect anything of{known}")
    return set(first)


def _documents(path: str) -> list[tuple[str, Any]]:
    if not path.endswith((".json", ".jsonl", ".ndjson")):
        raise InvalidArgument(f"{path}: its name ends in none of .json, .jsonl, .npz")
    try:
        with open(path, encoding="utf-8") as file:
            if not path.endswith(".json"):
                lines = [(number, line) for number, line in enumerate(file, 1) if line.strip()]
                return [
                    (f"{path}, line {number}", _parsed(line, f"{path}, line {number}"))
                    for number, line in lines
                ]
            whole = _parsed(file.read(), path)
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error
    if isinstance(whole, list):
        return [(f"{path}, request {number}", each) for number, each in enumerate(whole, 1)]
    return [(path, whole)]


def _parsed(text: str, origin: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"{origin} is no JSON: {error}") from error


def _arrays(path: str) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise _unreadable(path, error) from error


def _fitted(arrays: dict[str, np.ndarray], signature: Signature, origin: str) -> Arrays:
    for name in arrays:
        if name not in signature.inputs:
            known = nearest(name, signature.inputs)
            raise InvalidArgument(f"{origin}: there is no input {name!r}{known}")
    with told(origin):
        return {name: fitted(name, array, signature.inputs[name]) for name, array in arrays.items()}


def _kind(value: object) -> str:
    if isinstance(value, dict):
        return f"one with {', '.join(map(repr, list(value)[:5]))}" if value else "an empty one"
    return "a list" if isinstance(value, list) else json.dumps(value)[:40]


def _unreadable(path: str, error: Exception) -> ServingError:
    if isinstance(error, FileNotFoundError):
        return NotFound(f"{path}: there is no such file")
    return InvalidArgument(f"{path} cannot be read: {error}")
