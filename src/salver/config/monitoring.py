"""MonitoringConfig: whether Prometheus may read the metrics, and where."""

from dataclasses import dataclass

from salver.config.flags import Flags
from salver.config.text_file import read_text_file

DEFAULT_PATH = "/monitoring/prometheus/metrics"


@dataclass(frozen=True, slots=True)
class MonitoringSettings:
    """The metrics page."""

    enabled: bool = False
    path: str = DEFAULT_PATH
    """The path of the URL, compared as a whole."""


def monitoring_settings(flags: Flags) -> MonitoringSettings:
    """What the monitoring file says; without one, metrics are not shown.

    Raises:
        ServingError: the file cannot be read, see `read_text_file`.
    """
    if not flags.monitoring_config_file:
        return MonitoringSettings()
    config = read_text_file(flags.monitoring_config_file, "tensorflow.serving.MonitoringConfig")
    return MonitoringSettings(
        config.prometheus_config.enable, config.prometheus_config.path or DEFAULT_PATH
    )
