"""A run put together: which columns feed which inputs, what is written, where it begins."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Self

from salver.bulk.batch_answers import BatchAnswers
from salver.bulk.predictor import Predictor
from salver.bulk.progress_record import Progress
from salver.bulk.row_encoding import beginning_of, encoder_of
from salver.bulk.row_format import RowFormat, format_of
from salver.bulk.row_sink import GrowingFile, ParquetColumns, ParquetParts, RowSink
from salver.bulk.row_source import Parquet, RowSource, Values, open_source, parquet_library
from salver.bulk.row_values import InputValues, columns_of, takes_batches
from salver.bulk.run import BulkRun, Places, RunOptions, starting_point
from salver.core.data_type import DataType
from salver.core.nearest import nearest
from salver.core.signature import Signature
from salver.errors import InvalidArgument, NotFound
from salver.sources.file_lock import FileLock

_ROWS_FOR_TYPES = 1000
_RECORD = "the record itself"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """What the user asks for."""

    input: str
    output: str
    bad_rows: str
    input_format: str | None = None
    output_format: str | None = None
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    keep: Sequence[str] = ()
    batch_size: int = 128
    in_flight: int = 4
    max_bad_rows: int | None = None
    overwrite: bool = False


class Job:
    """One run, for a `with` block."""

    def __init__(self, options: JobOptions, predictor: Predictor) -> None:
        """Open the input.

        Raises:
            ServingError: it cannot be read, or does not fit the model.
        """
        self._options = options
        self._predictor = predictor
        self._format = format_of(options.input, options.input_format)
        self._output_format = format_of(options.output, options.output_format)
        self._places = Places(output=options.output, bad_rows=options.bad_rows)
        self._source = open_source(options.input, self._format)
        self._progress = Progress()
        self._is_over = False
        self._lock: FileLock | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._source.close()
        if self._lock is not None:
            self._lock.remove()

    def start(self) -> Progress:
        """Check everything; where the run is going to begin.

        Raises:
            ServingError: something does not fit, or is in the way.
        """
        signature = self._predictor.signature
        self._batched = takes_batches(signature)
        self._inputs = self._input_values(signature)
        self._require_columns()
        self._sink = self._sink_of(signature)
        self._require_different_files()
        self._lock = self._places.locked()
        self._progress, self._is_over = starting_point(
            self._places, self._settings(), overwrite=self._options.overwrite
        )
        return self._progress

    def run(self, on_progress: Callable[[Progress, float], None]) -> Progress:
        """Run to the end; see `BulkRun` for `on_progress`.

        Raises:
            ServingError: see `BulkRun.run`.
        """
        if self._is_over:
            return self._progress
        source: RowSource = self._source
        if self._takes_records:
            source = _Records(source)
        answers = BatchAnswers(source, self._inputs, self._predictor, batched=self._batched)
        options = RunOptions(
            batch_size=self._options.batch_size,
            in_flight=self._options.in_flight,
            max_bad_rows=self._options.max_bad_rows,
        )
        run = BulkRun(source, self._sink, answers, self._places, options, on_progress)
        return run.run(self._progress)

    @property
    def _takes_records(self) -> bool:
        """Whether the model parses `tf.train.Example` itself, and gets each record as it is."""
        specs = list(self._predictor.signature.inputs.values())
        return (
            self._format is RowFormat.TFRECORD
            and not self._options.columns
            and len(specs) == 1
            and specs[0].data_type is DataType.STRING
            and (specs[0].shape is None or len(specs[0].shape) == 1)
        )

    def _input_values(self, signature: Signature) -> list[InputValues]:
        columns = columns_of(signature, self._options.columns)
        if self._takes_records:
            columns = dict.fromkeys(columns, (_RECORD,))
        known = self._source.columns
        return [
            InputValues(name, spec, columns[name], self._source.values, self._batched)
            for name, spec in signature.inputs.items()
            # What may be left out is left out, unless a column says otherwise.
            if name not in signature.defaults
            or name in self._options.columns
            or (known is not None and name in known)
        ]

    def _require_columns(self) -> None:
        outputs = self._predictor.signature.outputs
        for name in self._options.keep:
            if name in outputs:
                raise InvalidArgument(f"--keep {name}: the model has an output of this name")
        known = self._source.columns
        if known is None:
            return
        wanted = [*self._options.keep, *(name for each in self._inputs for name in each.columns)]
        for name in wanted:
            if name not in known:
                raise NotFound(
                    f"{self._options.input} has no column {name!r}{nearest(name, known)}; "
                    "--columns INPUT=COLUMN says where values are"
                )

    def _require_different_files(self) -> None:
        options = self._options
        files = (options.input, options.output, options.bad_rows)
        if len(set(map(os.path.realpath, files))) < len(files):
            raise InvalidArgument(
                "the input, --output and --bad_rows must be three files, and two of them are one"
            )

    def _sink_of(self, signature: Signature) -> RowSink:
        keep, outputs = self._options.keep, list(signature.outputs)
        if self._output_format is RowFormat.PARQUET:
            columns = ParquetColumns(signature, self._kept_fields(), batched=self._batched)
            return ParquetParts(self._options.output, columns)
        encoder = encoder_of(self._output_format, keep, outputs)
        beginning = beginning_of(self._output_format, keep, outputs)
        return GrowingFile(self._options.output, encoder, beginning)

    def _kept_fields(self) -> list[Any]:
        """Arrow's types of the columns that are kept: those of the input, or of its beginning."""
        parquet_library()
        import pyarrow

        if isinstance(self._source, Parquet):
            return [self._source.schema.field(name) for name in self._options.keep]
        if self._source.values is Values.TEXT:
            return [pyarrow.field(name, pyarrow.string()) for name in self._options.keep]
        if not self._options.keep:
            return []
        beginning = open_source(self._options.input, self._format)
        rows = []
        try:
            for row in islice(beginning.rows(), _ROWS_FOR_TYPES):
                try:
                    rows.append(beginning.decode(row.content))
                except ValueError:
                    continue
        finally:
            beginning.close()
        fields = []
        for name in self._options.keep:
            try:
                fields.append(pyarrow.field(name, pyarrow.infer_type([r.get(name) for r in rows])))
            except (pyarrow.ArrowException, ValueError) as error:
                raise InvalidArgument(
                    f"--keep {name}: its values are not of one type: {' '.join(str(error).split())}"
                ) from error
        return fields

    def _settings(self) -> dict[str, Any]:
        status = os.stat(self._options.input)
        return {
            "input": os.path.abspath(self._options.input),
            "input size": status.st_size,
            "input time": status.st_mtime_ns,
            "model": self._predictor.name,
            "signature": self._predictor.signature.name,
            "outputs": list(self._predictor.signature.outputs),
            "columns": {each.name: list(each.columns) for each in self._inputs},
            "keep": list(self._options.keep),
            "input format": self._format.value,
            "output format": self._output_format.value,
            "batch size": self._options.batch_size,
            "file of bad rows": os.path.abspath(self._options.bad_rows),
        }


class _Records:
    """TFRecord files whose records are the values."""

    values = Values.PLAIN
    columns: tuple[str, ...] | None = None

    def __init__(self, source: RowSource) -> None:
        self._source = source
        self.rows = source.rows
        self.shown = source.shown
        self.part_read = source.part_read
        self.close = source.close

    def decode(self, content: Any) -> Mapping[str, Any]:
        # Its features, so that some of them can be kept, and a bad one is told.
        return {**self._source.decode(content), _RECORD: content}
