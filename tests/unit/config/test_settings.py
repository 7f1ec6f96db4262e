from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from salver.config.flags import Flags
from salver.config.settings import read_settings
from salver.errors import ServingError

GOOD = Flags(model_base_path="/models/m")


def status_of(flags: Flags) -> str:
    try:
        read_settings(flags)
    except ServingError as error:
        return error.status
    return "OK"


@pytest.mark.parametrize(
    ("flags", "status"),
    [
        pytest.param(GOOD, "OK", id="a base path is enough"),
        pytest.param(
            replace(GOOD, port=0),
            "INVALID_ARGUMENT: At least one of server_options.grpc_port or "
            "server_options.grpc_socket_path must be set.",
            id="nowhere to listen",
        ),
        pytest.param(replace(GOOD, port=0, grpc_socket_path="s"), "OK", id="a socket is enough"),
        pytest.param(
            replace(GOOD, use_alts_credentials=True, ssl_config_file="f"),
            "INVALID_ARGUMENT: Either use_alts_credentials must be false or "
            "ssl_config_file must be empty.",
            id="two kinds of credentials",
        ),
        pytest.param(
            Flags(),
            "INVALID_ARGUMENT: Both server_options.model_base_path and "
            "server_options.model_config_file are empty!",
            id="no models",
        ),
        pytest.param(
            replace(GOOD, batching_parameters_file="f"),
            "INVALID_ARGUMENT: server_options.batching_parameters_file is set without setting "
            "server_options.enable_batching to true.",
            id="a batching file without batching",
        ),
        pytest.param(
            replace(GOOD, enable_per_model_batching_parameters=True), "OK", id="ignored alone"
        ),
        pytest.param(
            replace(GOOD, model_config_file_poll_wait_seconds=3), "OK", id="nothing to poll"
        ),
        pytest.param(
            replace(GOOD, use_alts_credentials=True),
            "UNIMPLEMENTED: --use_alts_credentials: ALTS is not implemented",
            id="no start without the protection that was asked for",
        ),
        pytest.param(
            replace(Flags(), port=0),
            "INVALID_ARGUMENT: At least one of server_options.grpc_port or "
            "server_options.grpc_socket_path must be set.",
            id="ports before models",
        ),
    ],
)
def test_which_flags_go_together(flags: Flags, status: str) -> None:
    assert status_of(flags) == status


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            replace(GOOD, log_level="loud"),
            "--log_level must be one of debug, info, warning, error; got loud",
        ),
        (replace(GOOD, max_request_bytes=0), "--max_request_bytes must be positive; got 0"),
        (replace(GOOD, max_connections=-1), "--max_connections must not be negative; got -1"),
        (replace(GOOD, drain_delay_s=-1.0), "--drain_delay_s must not be negative; got -1.0"),
        (replace(GOOD, drain_grace_s=-0.5), "--drain_grace_s must not be negative; got -0.5"),
        (replace(GOOD, worker_threads=-2), "--worker_threads must not be negative; got -2"),
        (replace(GOOD, inline_budget_us=-2), "--inline_budget_us must not be negative; got -2"),
        (
            replace(GOOD, idle_timeout_s=float("nan")),
            "--idle_timeout_s must not be negative; got nan",
        ),
        (
            replace(GOOD, stall_timeout_s=-1.0),
            "--stall_timeout_s must not be negative; got -1.0",
        ),
    ],
)
def test_our_own_flags_have_a_range(flags: Flags, message: str) -> None:
    assert status_of(flags) == f"INVALID_ARGUMENT: {message}"


@pytest.mark.parametrize(
    "flag",
    ["platform_config_file", "ssl_config_file", "monitoring_config_file",
     "tensorflow_session_config_file", "batching_parameters_file"],
)  # fmt: skip
def test_every_file_is_read_before_the_start(tmp_path: Path, flag: str) -> None:
    path = tmp_path / "bad.config"
    path.write_text("x")
    named: dict[str, Any] = {flag: str(path)}
    flags = replace(GOOD, enable_batching=True, **named)
    assert status_of(flags) == f"INVALID_ARGUMENT: Invalid protobuf file: '{path}'"


def test_a_missing_model_config_file_comes_before_the_other_conflicts(tmp_path: Path) -> None:
    path = tmp_path / "absent.config"
    flags = Flags(model_config_file=str(path), batching_parameters_file="f")
    assert status_of(flags) == f"NOT_FOUND: {path}; No such file or directory"


def test_a_platform_file_stands_for_the_batching_flags(tmp_path: Path) -> None:
    path = tmp_path / "platform.config"
    path.write_text("""
        platform_configs { key: "tensorflow" value { source_adapter_config {
          [type.googleapis.com/tensorflow.serving.SavedModelBundleSourceAdapterConfig] {
            legacy_config { saved_model_tags: "serve" enable_model_warmup: true } } } } }
    """)
    flags = replace(GOOD, platform_config_file=str(path), batching_parameters_file="f")
    assert status_of(flags) == "OK"


@pytest.mark.parametrize("flag", ["ssl_config_file", "rest_api_ssl_config_file"])
def test_a_tls_file_that_cannot_be_used_ends_the_start(tmp_path: Path, flag: str) -> None:
    path = tmp_path / "tls.config"
    path.write_text('server_key: "k" server_cert: "c"')
    named: dict[str, Any] = {flag: str(path)}
    assert status_of(replace(GOOD, rest_api_port=8501, **named)).startswith(
        f"INVALID_ARGUMENT: {path}: server_key is neither PEM text"
    )


@pytest.mark.parametrize(
    ("text", "tags"),
    [("serve", ("serve",)), ("", ("serve",)), ("serve,gpu", ("serve", "gpu")), ("a,", ("a", ""))],
)
def test_tags_are_separated_by_commas(text: str, tags: tuple[str, ...]) -> None:
    assert read_settings(replace(GOOD, saved_model_tags=text)).saved_model_tags == tags


def test_the_settings_hold_what_the_files_say(tmp_path: Path) -> None:
    monitoring = tmp_path / "monitoring.config"
    monitoring.write_text("prometheus_config { enable: true }")
    flags = replace(GOOD, monitoring_config_file=str(monitoring), tensorflow_session_parallelism=2)
    settings = read_settings(flags)
    assert [model.base_path for model in settings.models.models] == ["/models/m"]
    assert settings.monitoring.enabled
    assert settings.session.intra_op_threads == 2


def test_a_worker_runs_on_each_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("salver.config.settings.schedulable_cpus", lambda: 8)
    assert read_settings(GOOD).workers == 8
    assert read_settings(replace(GOOD, worker_threads=3)).workers == 3


def test_a_single_cpu_has_two_workers_so_that_one_long_run_leaves_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("salver.config.settings.schedulable_cpus", lambda: 1)
    assert read_settings(GOOD).workers == 2
