"""`salver predict INPUT --output OUTPUT`: predictions for every row of a file.

JSONL, CSV, Parquet or TFRecord (of tf.train.Example) in and out; by a server (--url, --model) or
in this process (--dir). An interrupted run goes on where it was when it is started again.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from salver.cli.command_line import (
    DONE,
    FAILED,
    INTERRUPTED,
    ArgumentParser,
    failed,
    names,
    positive,
)
from salver.cli.model_flags import add_loading_flags, open_options
from salver.cli.server_flags import (
    add_server_flags,
    add_signature_flag,
    add_version_flags,
    require_one_place,
    served_model,
)
from salver.errors import DataLoss, FailedPrecondition, InvalidArgument, NotFound, ServingError

if TYPE_CHECKING:
    from salver.bulk.predictor import Predictor
    from salver.bulk.progress_record import Progress

_FORMATS = ("jsonl", "csv", "parquet", "tfrecord")
_AT_ONCE = 4


def predict(program: str, arguments: Sequence[str]) -> int:
    """Run over the file; the exit code: `FAILED` if rows were bad or the run could not finish."""
    options = _parser(program).parse_args(arguments)
    begun = _Begun(options.overwrite)
    try:
        return _run(options, begun)
    except (ServingError, OSError) as error:
        # A file that is damaged is so the next time, too.
        advice = "" if isinstance(error, DataLoss) else begun.advice
        code = failed(program, error, advice)
        return FAILED if begun.is_begun else code
    except KeyboardInterrupt:
        print(f"{program}: interrupted{begun.advice}", file=sys.stderr)
        return INTERRUPTED


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


def _parser(program: str) -> ArgumentParser:
    parser = ArgumentParser(program, __doc__)
    add = parser.add_argument
    add("input", help="a file of rows: .jsonl, .csv, .parquet or .tfrecord")
    add("--output", required=True, help="the file of answers; not there yet, unless --overwrite")
    add("--dir", help="a version folder, a base path (its newest version), or a URI of either")
    add_signature_flag(parser)
    add_version_flags(parser)
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
    add("--batch_size", type=positive, default=128, help="rows in one request (%(default)s)")
    add("--in_flight", type=positive, default=_AT_ONCE, help="requests at once (%(default)s)")
    add("--bad_rows", metavar="FILE", help="where bad rows go: OUTPUT.bad_rows.jsonl")
    add("--max_bad_rows", type=int, metavar="N", help="give up after more than so many bad rows")
    add("--overwrite", action="store_true", help="begin anew, whatever is there")
    add_server_flags(parser)
    add_loading_flags(parser)
    return parser


def _mapping(words: Sequence[str]) -> dict[str, tuple[str, ...]]:
    mapping = {}
    for word in words:
        name, equals, columns = word.partition("=")
        if not equals or not names(columns):
            raise InvalidArgument(f"--columns {word}: write INPUT=COLUMN or INPUT=COLUMN,COLUMN")
        mapping[name] = names(columns)
    return mapping


def _run(options: argparse.Namespace, begun: _Begun) -> int:
    _require_places(options)
    mapping = _mapping(options.columns)
    from salver.bulk.job import Job, JobOptions
    from salver.cli.progress_bar import RowsProgress

    job_options = JobOptions(
        input=options.input,
        output=options.output,
        input_format=options.input_format,
        output_format=options.output_format,
        columns=mapping,
        keep=names(options.keep),
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
        with RowsProgress(sys.stderr) as told:
            progress = job.run(told)
    return _told(options.output, job_options.bad_rows, progress)


def _told(output: str, bad_rows: str, progress: "Progress") -> int:
    good = progress.rows - progress.bad_rows
    print(f"{good:,} of {progress.rows:,} rows are answered: {output}", file=sys.stderr)
    if not progress.bad_rows:
        return DONE
    print(f"{progress.bad_rows:,} were bad: {bad_rows}", file=sys.stderr)
    return FAILED


def _require_places(options: argparse.Namespace) -> None:
    require_one_place(options, options.dir)
    if os.path.isdir(options.input):
        raise InvalidArgument(f"{options.input} is a folder, and no file of rows")
    if not os.path.exists(options.input):
        raise NotFound(f"{options.input}: there is no such file")
    folder = os.path.dirname(os.path.abspath(options.output))
    if not os.path.isdir(folder):
        raise FailedPrecondition(f"{options.output}: there is no folder {folder}")


@contextmanager
def _predictor(options: argparse.Namespace) -> "Iterator[Predictor]":
    from salver.bulk.predictor import local_predictor, served_predictor

    outputs = names(options.outputs)
    if options.url:
        with served_predictor(served_model(options), options.signature, outputs) as predictor:
            yield predictor
        return
    from salver.backends.registry import Backends
    from salver.inspection.finding import newest_version, numbered_version

    backends = Backends()
    if options.version is None:
        version = newest_version(options.dir, backends)
    else:
        version = numbered_version(options.dir, options.version, backends)
    allowed = open_options(options, options.in_flight)
    with local_predictor(version, allowed, backends, options.signature, outputs) as predictor:
        yield predictor
