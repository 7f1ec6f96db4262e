from pathlib import Path

import pytest

from salver.config.flags import Flags
from salver.config.monitoring import MonitoringSettings, monitoring_settings
from salver.errors import InvalidArgument, NotFound

DEFAULT_PATH = "/monitoring/prometheus/metrics"


def test_without_a_file_metrics_are_not_shown() -> None:
    assert monitoring_settings(Flags()).enabled is False


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("prometheus_config { enable: true }", MonitoringSettings(True, DEFAULT_PATH)),
        ('prometheus_config { enable: true path: "/m" }', MonitoringSettings(True, "/m")),
        ('prometheus_config { path: "/m" }', MonitoringSettings(False, "/m")),
        ("prometheus_config { }", MonitoringSettings(False, DEFAULT_PATH)),
        ("# nothing", MonitoringSettings(False, DEFAULT_PATH)),
    ],
)
def test_the_file_says_whether_and_where(
    tmp_path: Path, text: str, settings: MonitoringSettings
) -> None:
    path = tmp_path / "monitoring.config"
    path.write_text(text)
    assert monitoring_settings(Flags(monitoring_config_file=str(path))) == settings


def test_a_bad_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "monitoring.config"
    path.write_text("enable: true")
    with pytest.raises(InvalidArgument, match="Invalid protobuf file"):
        monitoring_settings(Flags(monitoring_config_file=str(path)))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="absent; No such file or directory"):
        monitoring_settings(Flags(monitoring_config_file=str(tmp_path / "absent")))
