"""`salver predict INPUT --output OUTPUT`: predictions for every row of a file.

JSONL, CSV, Parquet or TFRecord (of tf.train.Example) in and out; by a server (--url, --model) or
in this process (--dir). An interrupted run goes on where it was when it is started again.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from salver.errors import DataLoss, FailedPrecondition, InvalidArgument, NotFound, ServingError

if TYPE_CHECKING:
    from salver.bulk.predictor import Predictor
    from salver.bulk.progress_record import Progress

DONE, FAILED, WRONG_USE = 0, 1, 2
_FORMATS = ("jsonl", "csv", "parquet", "tfrecord")
_AT_ONCE = 4


def predict(program: str, arguments: Sequence[str]) -> int:
    """Run over the file; the exit code: `FAILED` if rows were bad or the run could not finish."""
    try:
        options = _parser(program).parse_args(arguments)
    except SystemExit as end:
        return WRONG_USE if end.code else DONE
    begun = _Begun(options.overwrite)
    try:
        return _run(options, begun)
    except ServingError as error:
        text = " ".join(error.message.split())
        # A file that is damaged is so the next time, too.
        advice = "" if isinstance(error, DataLoss) else begun.advice
        print(f"{program}: {text}{advice}", file=sys.stderr)
        return FAILED if begun.is_begun else WRONG_USE
    except OSError as error:
        text = f"{error.filename or options.output}: {error.strerror or error}"
        print(f"{program}: {text}{begun.advice}", file=sys.stderr)
        return FAILED if begun.is_begun else WRONG_USE
    except KeyboardInterrupt:
        print(f"{program}: interrupted{begun.advice}", file=sys.stderr)
        return FAILED


class _Begun:
    """Whether a run has left something that the next one goes on from."""

    def __init__(self, overwrites: bool) -> None:
        self.is_begun = False
        self._otherwise = " without --overwrite" if overwrites else ""

    @property
    def advice(self) -> str:
        if not self.is_begun:
            return ""
        return f"; the same command{self._otherwise} goes on from here"


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=program, description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("input", help="a file of rows: .jsonl, .csv, .parquet or .tfrecord")
    add("--output", required=True, help="the file of answers; not there yet, unless --overwrite")
    add("--dir", help="a version folder, a base path (its newest version), or a URI of either")
    add("--url", help="a server: localhost:8500, or http://localhost:8501 for REST")
    add("--model", metavar="NAME", help="the model's name at the server")
    add("--version", type=int, metavar="NUMBER", help="this version")
    add("--label", help="the version that has this label at the server")
    add("--signature", default="", metavar="NAME", help="else serving_default, or the only one")
    add("--outputs", default="", metavar="A,B", help="these outputs alone, in this order")
    add(
        "--columns",
        action="append",
        default=[],
        metavar="INPUT=COLUMN,...",
        help="where an input takes its values from, if not from the column of its own name; "
        "several columns make a vector. May be given more than once",
    )
    add("--keep", default="", metavar="A,B", help="columns of the input that go into the output")
    add("--input_format", choices=_FORMATS, help="else the name of the file tells")
    add("--output_format", choices=_FORMATS, help="else the name of the file tells")
    add("--batch_size", type=_positive, default=128, help="rows in one request (%(default)s)")
    add("--in_flight", type=_positive, default=_AT_ONCE, help="requests at once (%(default)s)")
    add("--bad_rows", metavar="FILE", help="where bad rows go: OUTPUT.bad_rows.jsonl")
    add("--max_bad_rows", type=int, metavar="N", help="give up after more than so many bad rows")
    add("--overwrite", action="store_true", help="begin anew, whatever is there")
    add("--model_platform", default="auto", metavar="NAME", help="the backend; else files tell")
    add("--allow_pickle", action="store_true", help="load pickled models, which runs their code")
    add("--allow_python_code", action="store_true", help="run Python code of a version")
    add("--skops_trusted_types", default="", metavar="TYPES", help="which files may hold, too")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def _names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(",")))


def _mapping(words: Sequence[str]) -> dict[str, tuple[str, ...]]:
    mapping = {}
    for word in words:
        name, equals, columns = word.partition("=")
        if not equals or not _names(columns):
            raise InvalidArgument(f"--columns {word}: write INPUT=COLUMN or INPUT=COLUMN,COLUMN")
        mapping[name] = _names(columns)
    return mapping


def _run(options: argparse.Namespace, begun: _Begun) -> int:
    _require_one_model(options)
    mapping = _mapping(options.columns)
    from salver.bulk.job import Job, JobOptions

    job_options = JobOptions(
        input=options.input,
        output=options.output,
        input_format=options.input_format,
        output_format=options.output_format,
        columns=mapping,
        keep=_names(options.keep),
        batch_size=options.batch_size,
        in_flight=options.in_flight,
        bad_rows=options.bad_rows or f"{options.output}.bad_rows.jsonl",
        max_bad_rows=options.max_bad_rows,
        overwrite=options.overwrite,
    )
    with _predictor(options) as predictor, Job(job_options, predictor) as job:
        progress = job.start()
        begun.is_begun = True
        if progress.rows:
            print(f"going on after row {progress.rows:,}", file=sys.stderr)
        progress = job.run(sys.stderr)
    return _told(options.output, job_options.bad_rows, progress)


def _told(output: str, bad_rows: str, progress: "Progress") -> int:
    good = progress.rows - progress.bad_rows
    print(f"{good:,} of {progress.rows:,} rows are answered: {output}", file=sys.stderr)
    if not progress.bad_rows:
        return DONE
    print(f"{progress.bad_rows:,} were bad: {bad_rows}", file=sys.stderr)
    return FAILED


def _require_one_model(options: argparse.Namespace) -> None:
    if bool(options.dir) == bool(options.url):
        raise InvalidArgument("name one model: --dir PATH, or --url URL and --model NAME")
    if options.url and not options.model:
        raise InvalidArgument("--url needs --model NAME, too")
    if options.dir and (options.model or options.label):
        raise InvalidArgument("--model and --label are for a server: name it with --url")
    if not os.path.isfile(options.input):
        raise NotFound(f"{options.input}: there is no such file")
    folder = os.path.dirname(os.path.abspath(options.output))
    if not os.path.isdir(folder):
        raise FailedPrecondition(f"{options.output}: there is no folder {folder}")


@contextmanager
def _predictor(options: argparse.Namespace) -> "Iterator[Predictor]":
    from salver.bulk.predictor import local_predictor, served_predictor

    outputs = _names(options.outputs)
    if options.url:
        place: Mapping[str, Any] = {"version": options.version, "label": options.label}
        with served_predictor(
            options.url, options.model, signature=options.signature, outputs=outputs, **place
        ) as predictor:
            yield predictor
        return
    from salver.backends.registry import Backends
    from salver.inspection.finding import newest_version, numbered_version
    from salver.inspection.opening import OpenOptions

    backends = Backends()
    if options.version is None:
        version = newest_version(options.dir, backends)
    else:
        version = numbered_version(options.dir, options.version, backends)
    open_options = OpenOptions(
        platform=options.model_platform,
        concurrency=options.in_flight,
        allow_pickle=options.allow_pickle,
        allow_python_code=options.allow_python_code,
        trusted_types=frozenset(_names(options.skops_trusted_types)),
    )
    with local_predictor(version, open_options, backends, options.signature, outputs) as predictor:
        yield predictor
