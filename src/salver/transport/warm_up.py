"""Warm-up: requests from a file that travels with the model, played before it is available.

A client of its own kind: the requests come as logs in a TFRecord file, and their answers
go nowhere. An error among them is an error of the load. Source: saved_model_warmup_util.cc.
"""

import logging
import os
from collections.abc import Callable, Mapping
from functools import partial
from time import perf_counter
from typing import Any

from google.protobuf.message import DecodeError

from salver.codecs.example_messages import examples_of
from salver.codecs.messages import message_class
from salver.codecs.predict_codec import decode_predict_request
from salver.codecs.tf_record import read_records
from salver.core.servable import ServableId
from salver.errors import Code, DataLoss, InvalidArgument, ServingError, Unimplemented
from salver.execution.immediate import ImmediateRunner
from salver.execution.prepared import PreparedServable
from salver.service.example_signature import Method
from salver.service.examples import MULTI_INFERENCE, Examples, Task
from salver.service.predict import Predict
from salver.telemetry.load_metrics import RunList, WarmUpReport
from salver.transport.grpc_messages import parsed, tensors_of

logger = logging.getLogger(__name__)

_FILE = os.path.join("assets.extra", "tf_serving_warmup_requests")
_MAX_RECORDS = 1000


class WarmUp:
    """Plays the warm-up file of a version. Used on load threads, one object for all."""

    def __init__(
        self,
        iterations: int,
        check_method_names: bool,
        report: Callable[[WarmUpReport], object],
    ) -> None:
        """`report` is told of each file that was played, on the thread that played it."""
        self._report = report
        self._check_method_names = check_method_names
        self._iterations = max(iterations, 1)
        self._options = f"num_request_iterations {{ value: {iterations} }}" * (iterations > 0)

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
        player = _Player(id_, servable, self._iterations, self._check_method_names)
        started = perf_counter()
        try:
            player.play(file_name)
        except ServingError as error:
            self._tell(player, path, started, error)
            if isinstance(error, DataLoss):
                raise DataLoss(
                    f"{error.message}. Please verify your warmup data is in TFRecord format."
                ) from error
            raise
        elapsed_s = self._tell(player, path, started)
        logger.info(
            "Finished reading warmup data for model at %s. Number of warmup records read: %d. "
            "Elapsed time (microseconds): %d.",
            file_name,
            player.count,
            elapsed_s * 1e6,
        )

    def replay(self, servable: PreparedServable, id_: ServableId, path: str) -> None:
        """Play the file, if there is one, for somebody who looks on: nothing is reported.

        Raises:
            ServingError: as `play`.
        """
        file_name = os.path.join(path, _FILE)
        if os.path.exists(file_name):
            _Player(id_, servable, 1, self._check_method_names).play(file_name)

    def _tell(
        self, player: "_Player", path: str, started: float, error: ServingError | None = None
    ) -> float:
        """Report what was played; the seconds that it took."""
        elapsed_s = perf_counter() - started
        status = Code.OK.name if error is None else error.status
        is_read = error is None or isinstance(error, DataLoss)
        records = player.count if is_read else None
        self._report(WarmUpReport(player.id, path, status, elapsed_s, records, player.runs))
        return elapsed_s


class _Player:
    """Plays one file to one version; also the handle on it, as it is not available yet."""

    def __init__(
        self,
        id_: ServableId,
        servable: PreparedServable,
        iterations: int,
        check_method_names: bool,
    ) -> None:
        self.id = id_
        self.servable = servable
        self.count = 0
        """Records that were read."""
        observed = RunList()
        self.runs = observed.runs
        self._iterations = iterations
        self._predict = Predict(ImmediateRunner(), observed, check_method_names)
        self._examples = Examples(ImmediateRunner(), observed, check_method_names)
        self._players: Mapping[str, Callable[[bytes], None]] = {
            "predict_log": self._play_predict,
            "classify_log": partial(self._play_examples, Method.CLASSIFY),
            "regress_log": partial(self._play_examples, Method.REGRESS),
            "multi_inference_log": self._play_multi_inference,
        }

    def release(self) -> None:
        """Nothing else can take the version away meanwhile."""

    def play(self, file_name: str) -> None:
        """Play every record of the file.

        Raises:
            ServingError: see `WarmUp.play`.
        """
        with open(file_name, "rb") as file:
            for record in read_records(file):
                self.count += 1
                self._play_record(record, file_name)
                if self.count > _MAX_RECORDS:
                    raise InvalidArgument(
                        f"Number of warmup records exceeds the maximum ({_MAX_RECORDS}) "
                        f"at {file_name}"
                    )

    def _play_record(self, record: bytes, file_name: str) -> None:
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
        play = self._players.get(kind)
        if play is None:
            number = log.DESCRIPTOR.fields_by_name[kind].number
            raise Unimplemented(f"Unsupported log_type for warmup: {number}")
        for _ in range(self._iterations):
            play(getattr(log, kind).request)

    def _play_predict(self, data: bytes) -> None:
        request = decode_predict_request(data)
        prepared = self._predict.signature(self, request.signature_name)
        inputs = tensors_of(request, prepared, self._predict)
        self._predict.run(self, prepared, inputs, request.output_filter, None, _expect)

    def _play_examples(self, method: Method, data: bytes) -> None:
        request = parsed("salver.ExamplesRequest", data)
        question = self._examples.question(self, request.model_spec.signature_name, method)
        examples = examples_of(request.input)
        self._examples.run(self, [question], examples, None, _expect, method.api)

    def _play_multi_inference(self, data: bytes) -> None:
        request = parsed("salver.MultiExamplesRequest", data)
        tasks = [
            Task(task.model_spec.name, task.model_spec.signature_name, task.method_name)
            for task in request.tasks
        ]
        questions = self._examples.questions(self, tasks)
        examples = examples_of(request.input)
        self._examples.run(self, questions, examples, None, _expect, MULTI_INFERENCE)


def _expect(answer: Any, error: ServingError | None) -> None:
    if error is not None:
        raise error
