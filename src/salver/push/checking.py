"""Whether a model may be published: one check after the other, up to the first that refuses it."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from salver.backends.registry import Backends
from salver.core.servable import ServableId
from salver.errors import InvalidArgument, NotFound, ServingError
from salver.execution.prepared import PreparedServable
from salver.inspection.finding import FoundVersion, told
from salver.inspection.opening import OpenModel
from salver.push.apart import opened_apart
from salver.push.blessing import INFRA, MODEL, is_blessed
from salver.push.comparison import differences
from salver.push.compatibility import for_clients, incompatibilities
from salver.push.latency import measured
from salver.push.model_folder import ModelFolder
from salver.push.order import PushOrder
from salver.push.progress import Progress
from salver.push.question import Question
from salver.push.reference import Reference
from salver.push.report import Check, Outcome, Report
from salver.push.request_file import read_questions, with_expected
from salver.push.warm_up_requests import warm_up_questions
from salver.scanning.scan import scan
from salver.transport.warm_up import WarmUp

_LATENCY_LIMIT_S = 60.0


class Refused(Exception):
    """A check speaks against the model; it is the last one of the report."""


@dataclass(slots=True)
class Checking:
    """The checks of one push; each tells the report and the progress what it finds."""

    order: PushOrder
    report: Report
    progress: Progress
    backends: Backends
    questions: list[Question] = field(default_factory=list)
    """What the model was tried with, once it was."""

    def check_blessings(self) -> None:
        """Raises: see `check_model`."""
        for folder, kind in (
            (self.order.blessing, MODEL),
            (self.order.infra_blessing, INFRA),
        ):
            if folder:
                blessed = is_blessed(folder, kind)
                self._tell("blessing", blessed, kind.blessed if blessed else kind.refused)

    def check_model(self, folder: ModelFolder, reference: Reference) -> None:
        """Look at the files, load the model in a process of its own and try it.

        Raises:
            Refused: it is not to be published.
            ServingError: what the user has given for it is wrong.
        """
        self._scan(folder)
        if not self.order.load:
            self._note(Check("load", Outcome.SKIPPED, "not loaded, as you said"))
            return
        with ExitStack() as stack:
            model = self._loaded(folder, stack)
            self._check_signatures(model, reference)
            self._warm_up(folder, model)
            self.questions = self._read_questions(folder, model)
            self._check_answers(model)
            self._compare(model, reference)
            self._check_latency(model, reference)

    # --- one by one ---------------------------------------------------------------

    def _scan(self, folder: ModelFolder) -> None:
        report = scan(Path(folder.path), self.order.allowances)
        findings = tuple(finding.line() for finding in report.findings)
        if not findings:
            self._tell("scan", True, f"nothing found that could do harm; {report.files} files")
            return
        text = f"{len(findings)} found that could do harm: {findings[0]}"
        self._tell("scan", False, text, findings, allowed=self.order.allow_unsafe)

    def _loaded(self, folder: ModelFolder, stack: ExitStack) -> OpenModel:
        version = FoundVersion(folder.path, None)
        limit_s = self.order.run_limit_s
        try:
            model = stack.enter_context(
                opened_apart(version, self.order.open_options, self.backends, limit_s)
            )
        except ServingError as error:
            raise self._refusal("load", error) from error
        names = ", ".join(sorted(for_clients(model.signatures)))
        self._tell("load", True, f"loaded in a process of its own; signatures: {names}")
        return model

    def _check_signatures(self, model: OpenModel, reference: Reference) -> None:
        allowed = self.order.allow_incompatible_signatures
        try:
            there = reference.signatures()
        except ServingError as error:
            self._tell("signatures", False, f"not known: {told(error)}", allowed=allowed)
            return
        if there is None:
            self._note(Check("signatures", Outcome.SKIPPED, "there is no version to compare with"))
            return
        self.report.compared_with = reference.number
        found = tuple(incompatibilities(there, model.signatures))
        if not found:
            self._tell("signatures", True, f"compatible with version {reference.number}")
            return
        text = f"not compatible with version {reference.number}: {found[0]}"
        self._tell("signatures", False, text, found, allowed=allowed)

    def _warm_up(self, folder: ModelFolder, model: OpenModel) -> None:
        played: list[int] = []
        warm_up = WarmUp(1, False, lambda report: played.append(report.records or 0))
        prepared = PreparedServable(model.servable)
        try:
            warm_up.play(prepared, ServableId(folder.shown, 0), folder.path)
        except ServingError as error:
            raise self._refusal("warm-up", error) from error
        if played:
            self._tell("warm-up", True, f"{sum(played)} requests played")
        else:
            self._note(Check("warm-up", Outcome.SKIPPED, "the model has no warm-up requests"))

    def _read_questions(self, folder: ModelFolder, model: OpenModel) -> list[Question]:
        if not self.order.requests:
            return warm_up_questions(folder.path, model)
        questions = read_questions(self.order.requests, model, self.order.signature)
        if not questions:
            raise InvalidArgument(f"{self.order.requests} holds no request")
        if self.order.expected:
            questions = with_expected(questions, self.order.expected, model)
        return questions

    def _check_answers(self, model: OpenModel) -> None:
        if not self.questions:
            self._note(Check("requests", Outcome.SKIPPED, "none were given, and none came with it"))
            return
        compared = sum(bool(question.expected) for question in self.questions)
        found: list[str] = []
        for question in self.questions:
            try:
                answer = model.run(question.inputs, question.signature, question.outputs)
            except (InvalidArgument, NotFound) as error:
                if question.origin.startswith(self.order.requests or "\0"):
                    raise InvalidArgument(f"{question.origin}: {error.message}") from error
                raise self._refusal("requests", error, question.origin) from error
            except ServingError as error:
                raise self._refusal("requests", error, question.origin) from error
            tolerance = self.order.tolerance
            found += [
                f"{question.origin}: {difference}"
                for difference in differences(answer, question.expected, tolerance)
            ]
        text = f"{len(self.questions)} answered"
        if compared:
            text += f", {compared} as expected" if not found else f"; {found[0]}"
        self._tell("requests", not found, text, tuple(found))

    def _compare(self, model: OpenModel, reference: Reference) -> None:
        if not self.order.compare:
            return
        other = self._needed(reference, "answers")
        found: list[str] = []
        for question in self._asked("answers"):
            try:
                wanted = other.run(question.inputs, question.signature, question.outputs)
            except ServingError as error:
                raise self._refusal("answers", error, f"version {reference.number}") from error
            answer = model.run(question.inputs, question.signature, question.outputs)
            found += [
                f"{question.origin}: {difference}"
                for difference in differences(answer, wanted, self.order.tolerance)
            ]
        count, number = len(self.questions), reference.number
        text = f"{count} as version {number} answers them" if not found else found[0]
        self._tell("answers", not found, text, tuple(found))

    def _check_latency(self, model: OpenModel, reference: Reference) -> None:
        limit = self.order.max_latency_ratio
        if limit is None:
            return
        other = self._needed(reference, "latency")
        questions = self._asked("latency")
        self.progress.begin("Measuring", self.order.latency_rounds, "runs")
        try:
            latency = measured(
                model,
                other,
                questions,
                rounds=self.order.latency_rounds,
                limit_s=_LATENCY_LIMIT_S,
                on_run=self.progress.advance,
            )
        except ServingError as error:
            raise self._refusal("latency", error) from error
        finally:
            self.progress.end()
        self.report.latency = {
            "median_ms": latency.median_ms,
            "reference_median_ms": latency.reference_ms,
            "ratio": latency.ratio,
        }
        text = (
            f"{latency.ratio:.2f} times that of version {reference.number}: "
            f"{latency.median_ms:.2f} ms against {latency.reference_ms:.2f} ms in the median of "
            f"{latency.runs} runs; {limit:g} times is allowed"
        )
        self._tell("latency", latency.ratio <= limit, text)

    # --- what they share ----------------------------------------------------------

    def _needed(self, reference: Reference, name: str) -> OpenModel:
        """The version to compare with, or the check is refused, as it cannot be made."""
        try:
            model = reference.model()
        except ServingError as error:
            raise self._refusal(name, error) from error
        if model is None:
            raise self._refusal(name, NotFound("there is no version to compare with"))
        self.report.compared_with = reference.number
        return model

    def _asked(self, name: str) -> Sequence[Question]:
        if not self.questions:
            raise InvalidArgument(
                f"To check {name} there must be requests: give a file of them, or warm-up "
                "requests with the model"
            )
        return self.questions

    def _refusal(self, name: str, error: ServingError, origin: str = "") -> Refused:
        text = f"{origin}: {told(error)}" if origin else told(error)
        self._note(Check(name, Outcome.REFUSED, text))
        return Refused(text)

    def _tell(
        self,
        name: str,
        passed: bool,
        text: str,
        details: tuple[str, ...] = (),
        *,
        allowed: bool = False,
    ) -> None:
        """Note a check.

        Raises:
            Refused: it has not passed, and that is not allowed.
        """
        outcome = Outcome.PASSED if passed else Outcome.ALLOWED if allowed else Outcome.REFUSED
        self._note(Check(name, outcome, text, details))
        if outcome is Outcome.REFUSED:
            raise Refused(text)

    def _note(self, check: Check) -> None:
        self.report.checks.append(check)
        self.progress.tell(check.name, f"{check.outcome.value}: {check.text}")
