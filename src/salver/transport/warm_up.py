"""Warm-up: requests from a file that travels with the model, played before it is available.

A client of its own kind: the requests come as logs in a TFRecord file, and their answers
go nowhere. An error among them is an error of the load. Source: saved_model_warmup_util.cc.
"""

import logging
import os
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

from google.protobuf.message import DecodeError

from salver.codecs.example_messages import examples_of
from salver.codecs.messages import message_class
from salver.codecs.predict_codec import decode_predict_request
from salver.codecs.tf_record import read_records
from salver.core.servable import ServableId
from salver.errors import DataLoss, InvalidArgument, ServingError, Unimplemented
from salver.execution.prepared import PreparedServable
from salver.execution.runner import ImmediateRunner
from salver.service.example_signature import Method
from salver.service.examples import Examples, Task
from salver.service.predict import Predict
from salver.telemetry.serving_metrics import ServingMetrics
from salver.transport.grpc_messages import parsed, tensors_of

logger = logging.getLogger(__name__)

_FILE = os.path.join("assets.extra", "tf_serving_warmup_requests")
_MAX_RECORDS = 1000


class WarmUp:
    """Plays the warm-up file of a version. Used on load threads, one object for all."""

    def __init__(self, iterations: int, check_method_names: bool) -> None:
        self._iterations = max(iterations, 1)
        self._options = f"num_request_iterations {{ value: {iterations} }}" * (iterations > 0)
        # What runs here is no client's request: it is counted apart, that is, nowhere.
        metrics = ServingMetrics()
        self._predict = Predict(ImmediateRunner(), metrics, check_method_names)
        self._examples = Examples(ImmediateRunner(), metrics, check_method_names)
        self._players: Mapping[str, Callable[[_Loading, bytes], None]] = {
            "predict_log": self._play_predict,
            "classify_log": lambda handle, request: self._play(Method.CLASSIFY, handle, request),
            "regress_log": lambda handle, request: self._play(Method.REGRESS, handle, request),
            "multi_inference_log": self._play_multi_inference,
        }

    def play(self, servable: PreparedServable, id_: ServableId, path: str) -> None:
        """Play the file in the version folder `path`; without one, do nothing.

        Raises:
            DataLoss: the file is damaged or no TFRecord file.
            InvalidArgument: it holds something else than logs, or more than 1000 of them.
            Unimplemented: a log is of a kind that cannot be played.
            ServingError: a request failed.
        """
        file_name = os.path.join(path, _FILE)
        if not os.path.exists(file_name):
            logger.info("No warmup data file found at %s", file_name)
            return
        logger.info(
            "Starting to read warmup data for model at %s with model-warmup-options %s",
            file_name,
            self._options,
        )
        handle = _Loading(id_, servable)
        count = 0
        started = perf_counter()
        with open(file_name, "rb") as file:
            try:
                for count, record in enumerate(read_records(file), 1):
                    self._play_record(handle, record, file_name)
                    if count > _MAX_RECORDS:
                        raise InvalidArgument(
                            f"Number of warmup records exceeds the maximum ({_MAX_RECORDS}) "
                            f"at {file_name}"
                        )
            except DataLoss as error:
                raise DataLoss(
                    f"{error.message}. Please verify your warmup data is in TFRecord format."
                ) from error
        logger.info(
            "Finished reading warmup data for model at %s. Number of warmup records read: %d. "
            "Elapsed time (microseconds): %d.",
            file_name,
            count,
            (perf_counter() - started) * 1e6,
        )

    def _play_record(self, handle: "_Loading", record: bytes, file_name: str) -> None:
        log = message_class("salver.SerializedPredictionLog")()
        try:
            log.ParseFromString(record)
        except DecodeError as error:
            raw = record.decode("utf-8", "surrogateescape")
            raise InvalidArgument(
                f"Failed to parse warmup record: {raw} from {file_name}"
            ) from error
        kind = log.WhichOneof("log_type")
        if kind is None:
            return
        player = self._players.get(kind)
        if player is None:
            number = log.DESCRIPTOR.fields_by_name[kind].number
            raise Unimplemented(f"Unsupported log_type for warmup: {number}")
        for _ in range(self._iterations):
            player(handle, getattr(log, kind).request)

    def _play_predict(self, handle: "_Loading", data: bytes) -> None:
        request = decode_predict_request(data)
        prepared = self._predict.signature(handle, request.signature_name)
        inputs = tensors_of(request, prepared, self._predict)
        self._predict.run(handle, prepared, inputs, request.output_filter, None, _expect)

    def _play(self, method: Method, handle: "_Loading", data: bytes) -> None:
        request = parsed("salver.ExamplesRequest", data)
        name = request.model_spec.signature_name
        question = self._examples.question(handle, name, method)
        self._examples.run(handle, [question], examples_of(request.input), None, _expect)

    def _play_multi_inference(self, handle: "_Loading", data: bytes) -> None:
        request = parsed("salver.MultiExamplesRequest", data)
        tasks = [
            Task(task.model_spec.name, task.model_spec.signature_name, task.method_name)
            for task in request.tasks
        ]
        questions = self._examples.questions(handle, tasks)
        self._examples.run(handle, questions, examples_of(request.input), None, _expect)


class _Loading:
    """A handle on a version that is not available yet."""

    def __init__(self, id_: ServableId, servable: PreparedServable) -> None:
        self.id = id_
        self.servable = servable

    def release(self) -> None:
        """Nothing else can take the version away meanwhile."""


def _expect(answer: Any, error: ServingError | None) -> None:
    if error is not None:
        raise error
