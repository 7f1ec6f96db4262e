"""Predict: named tensors in, named tensors out, through one signature of one version.

Every protocol comes through here with arrays; the order of the checks and the words
of the errors are those of TensorFlow Serving (predict_util.cc, server_core.cc).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from salver.core.servable import ServableId
from salver.core.signature import DEFAULT_SIGNATURE
from salver.errors import (
    FailedPrecondition,
    InternalError,
    InvalidArgument,
    ServingError,
    UnknownError,
)
from salver.execution.prepared import Executable, PreparedSignature
from salver.execution.runner import Pending, RunsPrograms
from salver.service.opening import ServableHandle
from salver.telemetry.request_log import PredictCall, RequestLog
from salver.telemetry.run_metrics import RunObserver

_METHOD_NAMES = (
    "tensorflow/serving/predict",
    "tensorflow/serving/classify",
    "tensorflow/serving/regress",
)


@dataclass(slots=True)
class Prediction:
    """The outputs of one request, and who made them."""

    id: ServableId
    signature_name: str
    output_names: Sequence[str]
    outputs: list[np.ndarray]


OnPredicted = Callable[[Prediction | None, ServingError | None], None]


class Predict:
    """The use case, for requests whose servable is open. Loop only."""

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

    def signature(self, handle: ServableHandle, name: str) -> PreparedSignature:
        """The signature that a gRPC request names; empty means the default one.

        Raises:
            FailedPrecondition: the model has no such signature.
            InternalError: its method name is none of ours, and that is to be checked.
        """
        prepared = handle.servable.signatures.get(name or DEFAULT_SIGNATURE)
        if prepared is None:
            raise FailedPrecondition(
                f'Serving signature key "{name or DEFAULT_SIGNATURE}" not found.'
            )
        if self._check_method_names:
            self._check_method_name(prepared)
        return prepared

    def named_signature(self, handle: ServableHandle, name: str) -> PreparedSignature:
        """The same for a REST request, where TensorFlow Serving answers in other words.

        Raises:
            InvalidArgument: the model has no such signature.
        """
        prepared = handle.servable.signatures.get(name or DEFAULT_SIGNATURE)
        if prepared is None:
            raise InvalidArgument(
                f'Serving signature name: "{name or DEFAULT_SIGNATURE}" not found in signature def'
            )
        if self._check_method_names:
            self._check_method_name(prepared)
        return prepared

    @staticmethod
    def _check_method_name(prepared: PreparedSignature) -> None:
        method_name = prepared.signature.method_name
        if method_name not in _METHOD_NAMES:
            raise InternalError(
                "Expected prediction signature method_name to be one of "
                f"{{{', '.join(_METHOD_NAMES)}}}. Was: {method_name}"
            )

    @staticmethod
    def check_inputs(prepared: PreparedSignature, sent: Collection[str]) -> None:
        """Compare the names of the inputs that were sent with those of the signature.

        Raises:
            InvalidArgument: an input without a default is missing, or one is unknown.
        """
        expected = prepared.input_names
        if len(sent) == len(expected) and prepared.input_name_set.issuperset(sent):
            return
        defaults = prepared.signature.defaults
        if len(sent) > len(expected) or (len(sent) < len(expected) and not defaults):
            raise InvalidArgument(_wrong_count(expected, sent))
        for name, feed in zip(expected, prepared.feeds, strict=True):
            if name not in sent and name not in defaults:
                raise InvalidArgument(
                    f"Signature input alias: {name}(feed name: {feed}) not found in request and no "
                    "default value provided. Inputs expected to be in the request "
                    f"{{{','.join(sorted(sent))}}}, or default input alias set: "
                    f"{','.join(sorted(defaults))}"
                )
        used = sorted(name for name in sent if name in expected)
        if len(used) != len(sent):
            raise InvalidArgument(
                f"Inputs contains invalid name. Used request inputs: {','.join(used)}, "
                f"request input: {','.join(sorted(sent))}"
            )

    def refusal(
        self, handle: ServableHandle, prepared: PreparedSignature, deadline: float | None
    ) -> ServingError | None:
        """Why a request to the signature is refused now, whatever its inputs; None: it is not.

        Counts the refusal: who hears of one has to answer with it.
        To be asked before the inputs are made, which would be in vain. An error here would cost
        more to raise than to return, and where requests are refused there are many.
        """
        refusal = self._runner.refusal(prepared.executable, deadline)
        if refusal is not None:
            self.count_refusal(handle.id, prepared, refusal)
        return refusal

    def count_refusal(
        self, id_: ServableId, prepared: PreparedSignature, refusal: ServingError
    ) -> None:
        """Another request to the signature was refused."""
        self._runner.refused(prepared.executable)
        self._metrics.run_failed(id_, prepared, "Predict", refusal.code)

    def refusal_by_all(self, handle: ServableHandle, deadline: float | None) -> ServingError | None:
        """The same while it is not known which signature is meant."""
        refusal = None
        for prepared in handle.servable.signatures.values():
            refusal = self._runner.refusal(prepared.executable, deadline)
            if refusal is None:
                return None
        if refusal is not None:
            self._runner.refused(prepared.executable)
        return refusal

    def run(
        self,
        handle: ServableHandle,
        prepared: PreparedSignature,
        inputs: Sequence[np.ndarray],
        output_filter: Sequence[str],
        deadline: float | None,
        on_predicted: OnPredicted,
    ) -> Pending | None:
        """Compute the outputs of `inputs`, which are in the order of the signature.

        Takes the handle over and releases it, also when it raises. `deadline` is loop
        time. Returns the run when it goes on after this returned, to be abandoned.

        Raises:
            InvalidArgument: `output_filter` names no output, or one twice.
        """
        if output_filter:
            try:
                executable, output_names = _filtered(handle, prepared, output_filter)
            except ServingError:
                handle.release()
                raise
        else:
            executable, output_names = prepared.executable, prepared.output_names
        id_ = handle.id
        if self._request_logs:
            on_predicted = self._logged(prepared, inputs, output_filter, id_, on_predicted)

        def done(
            outputs: list[np.ndarray] | None, error: ServingError | None, elapsed_s: float
        ) -> None:
            if outputs is None:
                assert error is not None
                self._metrics.run_failed(id_, prepared, "Predict", error.code)
                on_predicted(None, error)
            elif len(outputs) != len(output_names):
                on_predicted(None, UnknownError("Predict internal error"))
            else:
                self._metrics.ran(id_, prepared, "Predict", elapsed_s)
                name = prepared.signature.name
                on_predicted(Prediction(id_, name, output_names, outputs), None)

        return self._runner.run(executable, inputs, deadline, done, handle.release)

    def _logged(
        self,
        prepared: PreparedSignature,
        inputs: Sequence[np.ndarray],
        output_filter: Sequence[str],
        id_: ServableId,
        on_predicted: OnPredicted,
    ) -> OnPredicted:
        """`on_predicted`; for a request that is chosen, a callback that logs it as well."""
        log = self._request_logs.get(id_.name)
        if log is None or not log.chooses():
            return on_predicted

        def answer_and_log(prediction: Prediction | None, error: ServingError | None) -> None:
            on_predicted(prediction, error)
            if prediction is not None:
                names, outputs = prediction.output_names, prediction.outputs
                name = prediction.signature_name
                log.add(
                    id_,
                    PredictCall(name, prepared.input_names, inputs, output_filter, names, outputs),
                )

        return answer_and_log


def _filtered(
    handle: ServableHandle, prepared: PreparedSignature, output_filter: Sequence[str]
) -> tuple[Executable, Sequence[str]]:
    outputs = prepared.signature.outputs
    seen: set[str] = set()
    for name in output_filter:
        if name not in outputs:
            raise InvalidArgument(
                f"output tensor alias not found in signature: {name} Outputs expected to be in "
                f"the set {{{','.join(sorted(outputs))}}}."
            )
        if name in seen:
            raise InvalidArgument(f"duplicate output tensor alias: {name}")
        seen.add(name)
    fetches = tuple(outputs[name].name for name in output_filter)
    return handle.servable.executable(prepared.feeds, fetches), tuple(output_filter)


def _wrong_count(expected: Sequence[str], sent: Collection[str]) -> str:
    def listed(names: Collection[str]) -> str:
        return f"{{{','.join(sorted(names))}}}"

    return (
        f"input size does not match signature: {len(sent)}!={len(expected)} "
        f"len({listed(sent)}) != len({listed(expected)}). "
        f"Sent extra: {listed(set(sent) - set(expected))}. "
        f"Missing but required: {listed(set(expected) - set(sent))}."
    )
