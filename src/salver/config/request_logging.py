"""LoggingConfig of a model: which of its requests are logged, and where."""

from collections.abc import Iterable

from salver.codecs.messages import WireMessage, message_class
from salver.config.model_config import ModelSettings
from salver.errors import InvalidArgument, NotFound
from salver.telemetry.request_log import RequestLogSettings

FILE_COLLECTOR = "file"
COLLECTOR_TYPES = ("", FILE_COLLECTOR)
"""What `log_collector_config.type` may be; nothing stands for the file collector."""


def request_logs_of(models: Iterable[ModelSettings]) -> dict[str, RequestLogSettings]:
    """What is to be logged, by the name of the model; those that are not logged are absent.

    Raises:
        ServingError: see `request_log_settings`.
    """
    logs = {}
    for model in models:
        if model.logging_config is not None:
            config = message_class("tensorflow.serving.LoggingConfig")()
            config.ParseFromString(model.logging_config)
            logs[model.name] = request_log_settings(model.name, config)
    return logs


def request_log_settings(model: str, config: WireMessage) -> RequestLogSettings:
    """What the `tensorflow.serving.LoggingConfig` of `model` says.

    Raises:
        NotFound: there is no such kind of collector, in the words of TensorFlow Serving.
        InvalidArgument: something is missing, or cannot be meant so.
    """
    collector = config.log_collector_config
    if collector.type not in COLLECTOR_TYPES:
        raise NotFound(f"Cannot find LogCollector::Factory for type: {collector.type}")
    if not collector.filename_prefix:
        raise InvalidArgument(
            f"logging_config of model {model} needs log_collector_config.filename_prefix: "
            "the path with which the names of its files begin"
        )
    if "://" in collector.filename_prefix or "\0" in collector.filename_prefix:
        raise InvalidArgument(
            f"logging_config of model {model} names no file of this machine: "
            f"log_collector_config.filename_prefix is {collector.filename_prefix!r}"
        )
    if config.HasField("custom_logging_config"):
        raise InvalidArgument(
            f"logging_config of model {model} has a custom_logging_config, which no collector takes"
        )
    sampling = message_class("tensorflow.serving.SamplingConfig")()
    sampling.CopyFrom(config.sampling_config)
    sampling.sampling_rate = _rate(config.sampling_config)
    for rate in (sampling.sampling_rate, config.sampling_config.sampling_rate):
        if not 0.0 <= rate <= 1.0:
            raise InvalidArgument(
                f"logging_config of model {model} has a sampling_rate of {rate:g}; "
                "it must lie between 0 and 1"
            )
    return RequestLogSettings(
        collector.filename_prefix, sampling.sampling_rate, sampling.SerializeToString()
    )


def _rate(config: WireMessage) -> float:
    """The rate for this server: it has no place and no number, so only entries for any count."""
    for entry in config.per_task_sampling_configs:
        if not entry.dc and not entry.HasField("task_index"):
            return float(entry.sampling_rate)
    return float(config.sampling_rate)
