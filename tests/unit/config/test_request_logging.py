import pytest

from salver.codecs.messages import message_class, parse_text
from salver.config.model_config import ModelSettings, from_message
from salver.config.request_logging import request_log_settings, request_logs_of
from salver.errors import ServingError

FILE = 'log_collector_config { filename_prefix: "/logs/m" }'


def settings_of(text: str) -> tuple[str, float]:
    config = parse_text("tensorflow.serving.LoggingConfig", text)
    settings = request_log_settings("m", config)
    return settings.filename_prefix, settings.sampling_rate


def models_of(text: str) -> tuple[ModelSettings, ...]:
    full = f"model_config_list {{ {text} }}"
    return from_message(parse_text("tensorflow.serving.ModelServerConfig", full)).models


@pytest.mark.parametrize(
    ("sampling", "rate"),
    [
        pytest.param("", 0.0, id="unset: nothing"),
        pytest.param("sampling_rate: 0.25", 0.25, id="a part"),
        pytest.param("sampling_rate: 1 attributes: 3", 1.0, id="attributes change nothing"),
        pytest.param(
            "sampling_rate: 0.5 per_task_sampling_configs { sampling_rate: 0.1 }",
            0.1,
            id="an entry for any task replaces the rate",
        ),
        pytest.param(
            'sampling_rate: 0.5 per_task_sampling_configs { dc: "us" sampling_rate: 0.1 } '
            "per_task_sampling_configs { task_index: 0 sampling_rate: 0.2 } "
            "per_task_sampling_configs { sampling_rate: 0.3 } "
            "per_task_sampling_configs { sampling_rate: 0.4 }",
            0.3,
            id="the first that is for any place and any number",
        ),
        pytest.param(
            'sampling_rate: 0.5 per_task_sampling_configs { dc: "us" sampling_rate: 0.1 }',
            0.5,
            id="entries of others do not count",
        ),
    ],
)
def test_the_rate_is_the_one_that_holds_for_this_server(sampling: str, rate: float) -> None:
    assert settings_of(f"{FILE} sampling_config {{ {sampling} }}") == ("/logs/m", rate)


def test_the_collector_of_files_has_a_name_too() -> None:
    text = 'log_collector_config { type: "file" filename_prefix: "logs/m" }'
    assert settings_of(text) == ("logs/m", 0.0)


def test_records_say_with_which_rate_they_were_chosen() -> None:
    text = "sampling_rate: 0.5 attributes: 1 per_task_sampling_configs { sampling_rate: 0.1 }"
    config = parse_text("tensorflow.serving.LoggingConfig", f"{FILE} sampling_config {{ {text} }}")
    content = request_log_settings("m", config).sampling_config
    sampling = message_class("tensorflow.serving.SamplingConfig").FromString(content)
    assert (sampling.sampling_rate, sampling.attributes) == (0.1, 1)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        pytest.param(
            'log_collector_config { type: "pubsub" filename_prefix: "/logs/m" }',
            "NOT_FOUND: Cannot find LogCollector::Factory for type: pubsub",
            id="unknown collector",
        ),
        pytest.param(
            "",
            "INVALID_ARGUMENT: logging_config of model m needs log_collector_config."
            "filename_prefix: the path with which the names of its files begin",
            id="no prefix",
        ),
        pytest.param(
            'log_collector_config { filename_prefix: "gs://bucket/m" }',
            "INVALID_ARGUMENT: logging_config of model m names no file of this machine: "
            "log_collector_config.filename_prefix is 'gs://bucket/m'",
            id="not local",
        ),
        pytest.param(
            f"{FILE} sampling_config {{ sampling_rate: 1.5 }}",
            "INVALID_ARGUMENT: logging_config of model m has a sampling_rate of 1.5; "
            "it must lie between 0 and 1",
            id="more than everything",
        ),
        pytest.param(
            f"{FILE} sampling_config {{ sampling_rate: nan }}",
            "INVALID_ARGUMENT: logging_config of model m has a sampling_rate of nan; "
            "it must lie between 0 and 1",
            id="not a number",
        ),
        pytest.param(
            f"{FILE} sampling_config {{ per_task_sampling_configs {{ sampling_rate: -1 }} }}",
            "INVALID_ARGUMENT: logging_config of model m has a sampling_rate of -1; "
            "it must lie between 0 and 1",
            id="less than nothing for any task",
        ),
        pytest.param(
            f"{FILE} custom_logging_config {{ [type.googleapis.com/tensorflow.serving.Status"
            "Proto] {} }",
            "INVALID_ARGUMENT: logging_config of model m has a custom_logging_config, "
            "which no collector takes",
            id="custom",
        ),
    ],
)
def test_what_cannot_be_meant_so_is_refused(text: str, status: str) -> None:
    with pytest.raises(ServingError) as raised:
        settings_of(text)
    assert raised.value.status == status


def test_only_models_with_a_logging_config_are_logged() -> None:
    logs = request_logs_of(
        models_of(
            f'config {{ name: "a" logging_config {{ {FILE} }} }} config {{ name: "b" }} '
            f'config {{ name: "c" logging_config {{ {FILE} }} }}'
        )
    )
    assert list(logs) == ["a", "c"]


def test_an_empty_logging_config_is_not_the_same_as_none() -> None:
    with pytest.raises(ServingError, match="needs"):
        request_logs_of(models_of('config { name: "a" logging_config {} }'))
