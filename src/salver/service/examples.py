"""Classify, Regress and MultiInference: questions about `tf.Example`s.

The examples come serialized, as one string array; the graph parses them. One run of
the graph answers all the questions of a request.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from salver.core.servable import ServableId
from salver.core.signature import DEFAULT_SIGNATURE
from salver.errors import InvalidArgument, ServingError, Unimplemented
from salver.execution.prepared import PreparedSignature
from salver.execution.runner import Pending, RunsPrograms
from salver.service.example_signature import (
    Classification,
    ExampleResult,
    Method,
    check_signature,
    output_names,
    result_of,
)
from salver.service.opening import ServableHandle
from salver.telemetry.request_log import ExampleAnswer, ExamplesCall, RequestLog
from salver.telemetry.run_metrics import RunObserver


@dataclass(frozen=True, slots=True)
class Task:
    """One question of a MultiInference request."""

    model: str
    signature_name: str
    method_name: str


@dataclass(frozen=True, slots=True)
class Inference:
    """One answer, and who gave it."""

    id: ServableId
    signature_name: str
    result: ExampleResult


OnInferred = Callable[[list[Inference] | None, ServingError | None], None]
Question = tuple[PreparedSignature, Method]

MULTI_INFERENCE = "MultiInference"
"""The API of requests with several questions, as metrics have it."""


class Examples:
    """The use cases, for requests whose servable is open. Loop only."""

    def __init__(
        self,
        runner: RunsPrograms,
        metrics: RunObserver,
        check_method_names: bool = False,
        request_logs: Mapping[str, RequestLog] | None = None,
    ) -> None:
        """Store what is needed; `request_logs`, by the name of the model, may change later."""
        self._runner = runner
        self._metrics = metrics
        self._check_method_names = check_method_names
        self._request_logs = {} if request_logs is None else request_logs

    def question(self, handle: ServableHandle, name: str, method: Method) -> Question:
        """The signature that a Classify or Regress request names, if it fits the method.

        Raises:
            InvalidArgument: there is no such signature, or it does not fit.
        """
        wanted = name or DEFAULT_SIGNATURE
        prepared = handle.servable.signatures.get(wanted)
        if prepared is None:
            raise InvalidArgument(f"No signature was found with the name: {wanted}")
        check_signature(prepared.signature, method, self._check_method_names)
        return prepared, method

    def questions(self, handle: ServableHandle, tasks: Sequence[Task]) -> list[Question]:
        """The same for all tasks of a MultiInference request.

        Raises:
            InvalidArgument: a task names another model, no signature, or one twice.
            Unimplemented: a task's method is neither classify nor regress.
        """
        found: dict[str, Question] = {}
        for task in tasks:
            if not task.model:
                raise InvalidArgument("Found ModelSpec with an empty model name.")
            if task.model != tasks[0].model:
                raise InvalidArgument(
                    "All ModelSpecs in a MultiInferenceRequest must access the same model name."
                )
            name = task.signature_name or DEFAULT_SIGNATURE
            if name in found:
                raise InvalidArgument(f"Duplicate evaluation of signature: {name}")
            prepared = handle.servable.signatures.get(name)
            if prepared is None:
                raise InvalidArgument(f"Requested signature not found in model graph: {name}")
            found[name] = (prepared, _method_of(task))
            check_signature(prepared.signature, found[name][1], self._check_method_names)
        return list(found.values())

    def run(
        self,
        handle: ServableHandle,
        questions: Sequence[Question],
        examples: np.ndarray,
        deadline: float | None,
        on_inferred: OnInferred,
        api: str,
    ) -> Pending | None:
        """Answer `questions` about `examples`: serialized `tf.Example`s, shape [n].

        Takes the handle over and releases it, also when it raises. `deadline` is loop
        time; `api` is the name under which the run is counted: that of a method, or
        MULTI_INFERENCE.
        Returns the run when it goes on after this returned, to be abandoned.

        Raises:
            InvalidArgument: there are no examples.
        """
        if not len(examples):
            handle.release()
            raise InvalidArgument("Input is empty.")
        feeds, fetches = _feeds_and_fetches(questions)
        try:
            executable = handle.servable.executable(tuple(feeds), tuple(fetches))
        except BaseException:
            handle.release()
            raise
        id_ = handle.id
        if self._request_logs:
            is_multi = api == MULTI_INFERENCE
            on_inferred = self._logged(questions, examples, is_multi, id_, on_inferred)

        def done(
            outputs: list[np.ndarray] | None, error: ServingError | None, elapsed_s: float
        ) -> None:
            if outputs is None:
                assert error is not None
                for prepared, _ in questions:
                    self._metrics.run_failed(id_, prepared, api, error.code)
                on_inferred(None, error)
                return
            for prepared, _ in questions:
                self._metrics.ran(id_, prepared, api, elapsed_s)
            try:
                answers = [
                    _answer(id_, question, outputs, fetches, len(examples))
                    for question in questions
                ]
            except ServingError as failure:
                on_inferred(None, failure)
            else:
                on_inferred(answers, None)

        inputs = [examples] * len(feeds)
        return self._runner.run(executable, inputs, deadline, done, handle.release)

    def _logged(
        self,
        questions: Sequence[Question],
        examples: np.ndarray,
        is_multi: bool,
        id_: ServableId,
        on_inferred: OnInferred,
    ) -> OnInferred:
        """`on_inferred`; for a request that is chosen, a callback that logs it as well."""
        log = self._request_logs.get(id_.name)
        if log is None or not log.chooses():
            return on_inferred

        def answer_and_log(inferences: list[Inference] | None, error: ServingError | None) -> None:
            on_inferred(inferences, error)
            if inferences is not None:
                methods = [method for _, method in questions]
                answers = list(map(_logged_answer, inferences, methods))
                log.add(id_, ExamplesCall(is_multi, examples, answers))

        return answer_and_log


def _feeds_and_fetches(questions: Sequence[Question]) -> tuple[dict[str, None], dict[str, int]]:
    """The tensors that answer all questions, each once, and the position of each fetched one."""
    feeds: dict[str, None] = {}
    fetches: dict[str, int] = {}
    for prepared, method in questions:
        feeds.update(dict.fromkeys(prepared.feeds))
        for name in output_names(prepared.signature, method):
            fetches.setdefault(prepared.signature.outputs[name].name, len(fetches))
    return feeds, fetches


def _logged_answer(inference: Inference, method: Method) -> ExampleAnswer:
    result, name = inference.result, inference.signature_name
    if isinstance(result, Classification):
        return ExampleAnswer(name, method.value, result.classes, result.scores)
    return ExampleAnswer(name, method.value, values=result.values)


def _method_of(task: Task) -> Method:
    try:
        return Method(task.method_name)
    except ValueError as error:
        raise Unimplemented(f"Unsupported signature method_name: {task.method_name}") from error


def _answer(
    id_: ServableId,
    question: Question,
    outputs: Sequence[np.ndarray],
    positions: dict[str, int],
    count: int,
) -> Inference:
    prepared, method = question
    signature = prepared.signature
    names = output_names(signature, method)
    arrays = [outputs[positions[signature.outputs[name].name]] for name in names]
    return Inference(id_, signature.name, result_of(method, names, arrays, count))
