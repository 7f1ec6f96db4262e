"""What docs/batching.md says is what the server does."""

import re
from pathlib import Path

from salver.codecs.messages import message_class
from salver.config.batching import batching_settings
from salver.config.flags import Flags
from salver.telemetry.batching_metrics import BatchingMetrics

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "batching.md").read_text()


def rows_under(title: str) -> list[list[str]]:
    """The cells of the table in a section, without its head."""
    (section,) = re.findall(rf"^## {title}\n(.*?)(?:^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [[part.strip() for part in line.strip("|").split("|")] for line in lines]


def test_the_example_is_a_file_that_the_server_takes(tmp_path: Path) -> None:
    (example,) = re.findall(r"```textproto\n(.*?)```", PAGE, re.DOTALL)
    file = tmp_path / "batching.txt"
    file.write_text(example)
    flags = Flags(enable_batching=True, batching_parameters_file=str(file))
    options = batching_settings(flags).options
    assert options is not None
    assert (options.max_batch_size, options.max_enqueued_batches) == (64, 100)


def test_every_parameter_is_explained_with_its_default() -> None:
    message = message_class("tensorflow.serving.BatchingParameters")
    explained = {row[0].strip("`"): row[1] for row in rows_under("The parameters")}
    assert set(explained) == {field.name for field in message.DESCRIPTOR.fields}
    options = batching_settings(Flags(enable_batching=True)).options
    assert options is not None
    assert explained["max_batch_size"] == str(options.max_batch_size)
    assert explained["max_enqueued_batches"] == str(options.max_enqueued_batches)
    assert explained["batch_timeout_micros"] == f"{options.batch_timeout_s:.0f}"
    assert options.allowed_batch_sizes == ()
    assert not options.pad_variable_length_inputs
    assert not options.enable_large_batch_splitting


def test_every_metric_is_explained() -> None:
    metrics = BatchingMetrics()
    metrics.came(1, 1)
    shown = {metric.name for metric in metrics.metrics()}
    assert {row[0].strip("`") for row in rows_under("Metrics")} == shown
