from dataclasses import replace
from pathlib import Path

import pytest

from salver.codecs.messages import message_class
from salver.config.command_line import parse
from salver.config.flags import Flags
from salver.config.settings import Settings, read_settings
from salver.errors import InternalError, InvalidArgument, ServingError

FILE = """
platform_configs { key: "tensorflow" value { source_adapter_config {
  [type.googleapis.com/tensorflow.serving.SavedModelBundleSourceAdapterConfig] {
    legacy_config { %s } } } } }
"""


def settings_with(tmp_path: Path, text: str, *arguments: str) -> Settings:
    file = tmp_path / "platform.config"
    file.write_text(text)
    flags = parse(["--model_base_path=/m", *arguments]).flags
    return read_settings(replace(flags, platform_config_file=str(file)))


def test_it_replaces_the_flags_that_it_stands_for(tmp_path: Path) -> None:
    settings = settings_with(
        tmp_path,
        FILE % 'saved_model_tags: "serve" saved_model_tags: "gpu" '
        "session_config { intra_op_parallelism_threads: 3 } "
        "model_warmup_options { num_request_iterations { value: 7 } } "
        'prefer_tflite_model: true num_tflite_pools: 5 mixed_precision: "bfloat16"',
        "--saved_model_tags=a,b",
        "--tensorflow_intra_op_parallelism=9",
        "--enable_batching",
        "--num_tflite_interpreters_per_pool=4",
    )
    assert settings.saved_model_tags == ("serve", "gpu")
    assert settings.session.intra_op_threads == 3
    config = message_class("tensorflow.ConfigProto")()
    config.ParseFromString(settings.session.config_proto)
    assert config.graph_options.rewrite_options.auto_mixed_precision_onednn_bfloat16 == 1
    assert settings.batching.options is None
    flags = settings.flags
    assert not flags.enable_model_warmup
    assert flags.num_request_iterations_for_warmup == 7
    assert flags.prefer_tflite_model
    assert (flags.num_tflite_pools, flags.num_tflite_interpreters_per_pool) == (5, 4)


def test_its_batching_parameters_are_those_of_every_version(tmp_path: Path) -> None:
    text = FILE % (
        "batching_parameters { max_batch_size { value: 8 } num_batch_threads { value: 3 } "
        'thread_pool_name { value: "pool" } }'
    )
    batching = settings_with(tmp_path, text).batching
    assert batching.options is not None
    assert batching.options.max_batch_size == 8
    assert (batching.threads, batching.thread_pool_name) == (3, "pool")


def test_versions_bring_their_own_parameters_where_it_says_so(tmp_path: Path) -> None:
    text = FILE % "batching_parameters {} enable_per_model_batching_params: true"
    batching = settings_with(tmp_path, text).batching
    assert batching.of_version(str(tmp_path), lambda: False) is None
    (tmp_path / "batching_params.pbtxt").write_text("max_batch_size { value: 3 }")
    options = batching.of_version(str(tmp_path), lambda: False)
    assert options is not None
    assert options.max_batch_size == 3


def test_a_mistake_in_the_flags_that_it_replaces_is_none(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, FILE % "", "--batching_parameters_file=/nowhere")
    assert settings.flags.saved_model_tags == ""
    assert settings.saved_model_tags == ("serve",)


@pytest.mark.parametrize(
    ("text", "kind", "error"),
    [
        ("platform_configs {}", InvalidArgument, "nothing for the platform tensorflow"),
        (
            'platform_configs { key: "tensorflow" value {} }',
            InvalidArgument,
            "Supplied config's type_url could not be parsed: ",
        ),
        (
            'platform_configs { key: "tensorflow" value { source_adapter_config '
            '{ type_url: "x/tensorflow.serving.Nothing" } } }',
            InternalError,
            "Unable to find compiled-in proto descriptor of type tensorflow.serving.Nothing",
        ),
        (
            'platform_configs { key: "tensorflow" value { source_adapter_config '
            '{ type_url: "x/tensorflow.serving.MonitoringConfig" } } }',
            InvalidArgument,
            "Couldn't find factory for config proto message type "
            "tensorflow.serving.MonitoringConfig\nconfig=",
        ),
        (
            'platform_configs { key: "tensorflow" value { source_adapter_config { type_url: '
            '"x/tensorflow.serving.SavedModelBundleSourceAdapterConfig" value: "x" } } }',
            InvalidArgument,
            "holds no valid tensorflow.serving.SavedModelBundleSourceAdapterConfig",
        ),
    ],
)
def test_what_it_cannot_be_is_said(
    tmp_path: Path, text: str, kind: type[ServingError], error: str
) -> None:
    with pytest.raises(kind) as refused:
        settings_with(tmp_path, text)
    assert error in refused.value.message


@pytest.mark.parametrize(("given", "is_on"), [("bfloat16", True), ("float16", False), ("", False)])
def test_mixed_precision_is_bfloat16_or_nothing(
    given: str, is_on: bool, caplog: pytest.LogCaptureFixture
) -> None:
    flags = replace(Flags(), model_base_path="/m", mixed_precision=given)
    config = message_class("tensorflow.ConfigProto")()
    config.ParseFromString(read_settings(flags).session.config_proto)
    rewrites = config.graph_options.rewrite_options
    assert (rewrites.auto_mixed_precision_onednn_bfloat16 == 1) is is_on
    assert bool(caplog.messages) is (given == "float16")
