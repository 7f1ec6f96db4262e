import os
from dataclasses import replace
from pathlib import Path

import pytest

from salver.config.batching import BatchingSettings, batching_settings
from salver.config.flags import Flags
from salver.config.settings import read_settings
from salver.errors import InvalidArgument, ServingError
from salver.execution.batch_options import BatchOptions

CPUS = len(os.sched_getaffinity(0))
ON = Flags(model_base_path="/models/m", enable_batching=True)


def settings_of(tmp_path: Path, text: str, flags: Flags = ON) -> BatchingSettings:
    file = tmp_path / "batching.config"
    file.write_text(text)
    return batching_settings(replace(flags, batching_parameters_file=str(file)))


def version_of(tmp_path: Path, text: str | None) -> str:
    """The path of a version with such a file of its own."""
    path = tmp_path / "m" / "1"
    path.mkdir(parents=True)
    if text is not None:
        (path / "batching_params.pbtxt").write_text(text)
    return str(path)


def status_of(flags: Flags) -> str:
    try:
        read_settings(flags)
    except ServingError as error:
        return error.status
    return "OK"


def no_table() -> bool:
    return False


def test_only_tables_are_batched_unless_more_is_asked_for(tmp_path: Path) -> None:
    settings = batching_settings(Flags())
    assert settings.options is None
    assert settings.is_used
    options = settings.of_version(str(tmp_path), lambda: True)
    assert options == batching_settings(Flags(batching="auto")).options
    assert (
        settings.of_version(version_of(tmp_path, "max_batch_size { value: 2 }"), no_table) is None
    )


def test_without_a_file_everything_is_as_in_the_original(tmp_path: Path) -> None:
    settings = batching_settings(ON)
    assert settings == BatchingSettings(BatchOptions(), False, CPUS, "model_server_batch_threads")
    assert settings.of_version(str(tmp_path), no_table) == BatchOptions(
        max_batch_size=1000,
        batch_timeout_s=0.0,
        max_enqueued_batches=10,
        allowed_batch_sizes=(),
        pad_variable_length_inputs=False,
        enable_large_batch_splitting=False,
        max_execution_batch_size=1000,
    )


def test_every_field_of_the_file_has_its_place(tmp_path: Path) -> None:
    text = """
        max_batch_size { value: 64 }
        batch_timeout_micros { value: 2500 }
        max_enqueued_batches { value: 7 }
        num_batch_threads { value: 3 }
        thread_pool_name { value: "pool" }
        allowed_batch_sizes: 16
        allowed_batch_sizes: 64
        pad_variable_length_inputs: true
        enable_large_batch_splitting { value: true }
        max_execution_batch_size { value: 32 }
    """
    options = BatchOptions(64, 0.0025, 7, (16, 64), True, True, 32)
    assert settings_of(tmp_path, text) == BatchingSettings(options, False, 3, "pool")


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("# nothing", BatchOptions()),
        ("max_batch_size { value: 5 }", BatchOptions(5, max_execution_batch_size=5)),
        (
            "max_batch_size { value: 5 } max_execution_batch_size { value: 2 }",
            BatchOptions(5, max_execution_batch_size=5),
        ),
        (
            "max_batch_size { value: 5 } enable_large_batch_splitting { value: true }",
            BatchOptions(5, max_execution_batch_size=5, enable_large_batch_splitting=True),
        ),
        ("max_enqueued_batches { value: 0 }", BatchOptions(max_enqueued_batches=0)),
        ("max_enqueued_batches { value: -1 }", BatchOptions(max_enqueued_batches=0)),
    ],
)
def test_what_the_file_leaves_out_is_as_in_the_original(
    tmp_path: Path, text: str, options: BatchOptions
) -> None:
    settings = settings_of(tmp_path, text)
    assert settings == BatchingSettings(options, False, CPUS, "batch_threads")
    assert settings.of_version(str(tmp_path), no_table) == options


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("max_batch_size { value: 0 }", "max_batch_size must be positive; was 0"),
        ("max_batch_size { value: -3 }", "max_batch_size must be positive; was -3"),
        (
            "batch_timeout_micros { value: -1 }",
            "batch_timeout_micros must be non-negative; was -1",
        ),
        ("num_batch_threads { value: 0 }", "num_batch_threads must be positive; was 0"),
        ("num_batch_threads { value: -2 }", "num_batch_threads must be positive; was -2"),
        (
            "max_batch_size { value: 4 } max_execution_batch_size { value: 5 } "
            "enable_large_batch_splitting { value: true }",
            "max_execution_batch_size (5) must not be larger than max_batch_size (4)",
        ),
        ("max_batch_size: 4", "Invalid protobuf file: '{file}'"),
        ("no_such_field: 4", "Invalid protobuf file: '{file}'"),
        ("", "{file}; Invalid argument"),
    ],
)
def test_parameters_that_no_server_can_start_with_are_refused(
    tmp_path: Path, text: str, error: str
) -> None:
    with pytest.raises(InvalidArgument) as refused:
        settings_of(tmp_path, text)
    assert refused.value.message == error.format(file=tmp_path / "batching.config")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "allowed_batch_sizes: 2 allowed_batch_sizes: 4",
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 4; "
            "expected 1000",
        ),
        (
            "max_execution_batch_size { value: 0 } enable_large_batch_splitting { value: true }",
            "max_execution_batch_size must be positive; was 0",
        ),
    ],
)
def test_other_mistakes_are_errors_of_each_load(tmp_path: Path, text: str, error: str) -> None:
    settings = settings_of(tmp_path, text)
    with pytest.raises(InvalidArgument) as refused:
        settings.of_version(str(tmp_path), no_table)
    assert refused.value.message == error


def test_a_file_that_is_not_there_is_named() -> None:
    flags = replace(ON, batching_parameters_file="/nowhere/b.config")
    assert status_of(flags) == "NOT_FOUND: /nowhere/b.config; No such file or directory"


# --- parameters of each version ----------------------------------------------------

OWN = replace(ON, enable_per_model_batching_parameters=True)


def test_a_version_brings_its_own_parameters_and_takes_none_from_the_common_file(
    tmp_path: Path,
) -> None:
    common = "max_batch_size { value: 2 } batch_timeout_micros { value: 9 } allowed_batch_sizes: 2"
    settings = settings_of(tmp_path, f"{common} num_batch_threads {{ value: 3 }}", OWN)
    assert settings.threads == 3
    path = version_of(tmp_path, "max_batch_size { value: 6 } num_batch_threads { value: 99 }")
    assert settings.of_version(path, no_table) == BatchOptions(6, max_execution_batch_size=6)


def test_a_version_without_parameters_of_its_own_is_not_batched(tmp_path: Path) -> None:
    settings = batching_settings(OWN)
    assert settings.of_version(version_of(tmp_path, None), no_table) is None


def test_common_parameters_that_nobody_uses_may_be_wrong(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "max_batch_size { value: 0 }", OWN)
    assert settings.of_version(version_of(tmp_path, "# all as usual"), no_table) == BatchOptions()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("max_batch_size { value: 0 }", "input_batch_size_limit must be positive; was 0"),
        (
            "batch_timeout_micros { value: -1 }",
            "batch_timeout_micros must be non-negative; was -1",
        ),
        (
            "max_batch_size { value: 4 } max_execution_batch_size { value: 5 } "
            "enable_large_batch_splitting { value: true }",
            "When enable_large_batch_splitting is true, input_batch_size_limit must be greater "
            "than or equal to max_execution_batch_size.145",
        ),
        (
            "max_batch_size { value: 4 } allowed_batch_sizes: 2",
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 2; "
            "expected 4",
        ),
        ("max_batch_size: 4", "Invalid protobuf file: '{file}'"),
        ("", "{file}; Invalid argument"),
    ],
)
def test_a_version_with_wrong_parameters_cannot_be_loaded(
    tmp_path: Path, text: str, error: str
) -> None:
    path = version_of(tmp_path, text)
    with pytest.raises(InvalidArgument) as refused:
        batching_settings(OWN).of_version(path, no_table)
    assert refused.value.message == error.format(file=f"{path}/batching_params.pbtxt")


def test_parameters_of_versions_mean_nothing_without_batching(tmp_path: Path) -> None:
    settings = batching_settings(Flags(enable_per_model_batching_parameters=True))
    version = version_of(tmp_path, "max_batch_size { value: 0 }")
    assert settings.of_version(version, no_table) is None


def test_given_parameters_are_those_of_tables_too(tmp_path: Path) -> None:
    settings = batching_settings(ON)
    assert settings.of_version(str(tmp_path), lambda: True) == settings.options
    version = version_of(tmp_path, "max_batch_size { value: 2 }")
    own = batching_settings(OWN)
    assert own.of_version(version, lambda: True) == own.of_version(version, no_table)
    assert own.of_version("no parameters there", lambda: True) is None


def test_off_is_off_for_tables_too(tmp_path: Path) -> None:
    settings = batching_settings(Flags(batching="off"))
    assert not settings.is_used
    assert settings.of_version(str(tmp_path), lambda: True) is None


# --- automatic batching ------------------------------------------------------------


def test_automatic_batching_needs_no_parameters(tmp_path: Path) -> None:
    settings = batching_settings(Flags(batching="auto"))
    options = settings.of_version(str(tmp_path), no_table)
    assert options is not None
    assert options.is_automatic
    assert options.batch_timeout_s == 0.0
    assert settings.threads == 2 * CPUS


def test_automatic_batching_is_told_whether_it_may_pad_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "b.config"
    flags = Flags(batching="auto", batching_parameters_file=str(file))
    automatic = batching_settings(Flags(batching="auto")).options
    assert automatic is not None
    file.write_text("pad_variable_length_inputs: true")
    padding = replace(automatic, pad_variable_length_inputs=True)
    assert batching_settings(flags).options == padding
    file.write_text("pad_variable_length_inputs: false")
    assert batching_settings(flags).options == automatic
    file.write_text("max_batch_size { value: 8 } pad_variable_length_inputs: true")
    with pytest.raises(InvalidArgument) as refused:
        batching_settings(flags)
    assert refused.value.message == (
        f"{file} sets max_batch_size, which --batching=auto finds by itself: with it, batching "
        "parameters may only say pad_variable_length_inputs. Leave out those, or --batching=auto"
    )


def test_versions_say_whether_automatic_batching_may_pad(tmp_path: Path) -> None:
    settings = batching_settings(replace(OWN, batching="auto"))
    assert settings.threads == 2 * CPUS
    automatic = settings.of_version("no parameters there", no_table)
    assert automatic == batching_settings(Flags(batching="auto")).options
    assert automatic is not None
    version = version_of(tmp_path, "pad_variable_length_inputs: true")
    padding = replace(automatic, pad_variable_length_inputs=True)
    assert settings.of_version(version, no_table) == padding
    version = version_of(tmp_path / "b", "num_batch_threads { value: 8 } allowed_batch_sizes: 8")
    with pytest.raises(InvalidArgument, match="sets num_batch_threads, allowed_batch_sizes, which"):
        settings.of_version(version, no_table)


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (Flags(batching="on"), "--batching must be off, tables or auto; got on"),
        (Flags(batching=""), "--batching must be off, tables or auto; got "),
        (
            Flags(batching_parameters_file="b.config"),
            "server_options.batching_parameters_file is set without setting "
            "server_options.enable_batching to true.",
        ),
    ],
)
def test_flags_that_contradict_each_other_are_refused(flags: Flags, error: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        batching_settings(flags)
    assert refused.value.message == error
