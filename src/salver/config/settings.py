"""Flags and files together, checked: all that the server needs to know before it starts."""

from dataclasses import dataclass

from salver.config.batching import BatchingSettings, batching_settings
from salver.config.flags import Flags, schedulable_cpus
from salver.config.isolation import IsolationSettings, isolation_settings
from salver.config.model_config import ModelServerConfig, model_server_config
from salver.config.monitoring import MonitoringSettings, monitoring_settings
from salver.config.platform import flags_with, session_bundle_config
from salver.config.session_config import SessionSettings, session_settings, session_settings_of
from salver.config.text_file import read_text_file
from salver.config.tls import TlsSettings, check_tls_flags, tls_settings
from salver.config.unsafe_models import unsafe_model_exceptions
from salver.errors import InvalidArgument, Unimplemented
from salver.scanning.report import Allowance

LOG_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the files say, and the flags with them."""

    flags: Flags
    """Those of the command line, under what a platform config says in the place of some."""
    models: ModelServerConfig
    """Not yet validated: what a reload must pass, the first config must pass too."""
    session: SessionSettings
    saved_model_tags: tuple[str, ...]
    monitoring: MonitoringSettings
    batching: BatchingSettings
    tls: TlsSettings
    isolation: IsolationSettings
    unsafe_model_exceptions: tuple[Allowance, ...] | None
    """What unsafe versions may do all the same; None: they are not looked for."""

    @property
    def workers(self) -> int:
        """Threads that run models.

        One for each CPU: one more would take turns with the others there, and keep the interpreter
        lock meanwhile at times, while a CPU is idle. Two at least, so that a long run of one model
        does not hold up all others.
        """
        return self.flags.worker_threads or max(2, schedulable_cpus())


def read_settings(flags: Flags) -> Settings:
    """Check the flags and read every file they name, in the order of the original's start.

    Raises:
        ServingError: the first fault that is found; the server must not start.
    """
    check_options(flags)
    models = model_server_config(flags)
    if flags.platform_config_file:
        # It stands for the flags of batching, too, so a mistake in those is none.
        platforms = read_text_file(
            flags.platform_config_file, "tensorflow.serving.PlatformConfigMap"
        )
        bundle = session_bundle_config(platforms)
        flags = flags_with(flags, bundle)
        batching = batching_settings(flags, bundle.batching_parameters)
        session = session_settings_of(bundle.session_config, flags.mixed_precision)
    else:
        batching = batching_settings(flags)
        session = session_settings(flags)
    if flags.use_alts_credentials:
        raise Unimplemented("--use_alts_credentials: ALTS is not implemented")
    return Settings(
        flags,
        models,
        session,
        saved_model_tags(flags),
        monitoring_settings(flags),
        batching,
        tls_settings(flags),
        isolation_settings(flags),
        unsafe_model_exceptions(flags),
    )


def check_options(flags: Flags) -> None:
    """Refuse flags that contradict each other or lie beyond their range.

    Raises:
        InvalidArgument: with the text of the original where it has one.
    """
    if flags.port == 0 and not flags.grpc_socket_path:
        raise InvalidArgument(
            "At least one of server_options.grpc_port or "
            "server_options.grpc_socket_path must be set."
        )
    if flags.use_alts_credentials and flags.ssl_config_file:
        raise InvalidArgument(
            "Either use_alts_credentials must be false or ssl_config_file must be empty."
        )
    if not flags.model_base_path and not flags.model_config_file:
        raise InvalidArgument(
            "Both server_options.model_base_path and server_options.model_config_file are empty!"
        )
    _check_own_options(flags)
    check_tls_flags(flags)


def saved_model_tags(flags: Flags) -> tuple[str, ...]:
    """The tags of the MetaGraph to load; none given means `serve`."""
    return tuple((flags.saved_model_tags or "serve").split(","))


def _check_own_options(flags: Flags) -> None:
    if flags.log_level not in LOG_LEVELS:
        raise InvalidArgument(
            f"--log_level must be one of {', '.join(LOG_LEVELS)}; got {flags.log_level}"
        )
    if flags.max_request_bytes < 1:
        raise InvalidArgument(
            f"--max_request_bytes must be positive; got {flags.max_request_bytes}"
        )
    for name, value in (
        ("max_connections", flags.max_connections),
        ("stall_timeout_s", flags.stall_timeout_s),
        ("idle_timeout_s", flags.idle_timeout_s),
        ("drain_delay_s", flags.drain_delay_s),
        ("drain_grace_s", flags.drain_grace_s),
        ("rest_api_compression_min_bytes", flags.rest_api_compression_min_bytes),
        ("worker_threads", flags.worker_threads),
        ("isolated_run_limit_s", flags.isolated_run_limit_s),
        ("inline_budget_us", flags.inline_budget_us),
        ("load_niceness", flags.load_niceness),
        ("max_queue_wait_ms", flags.max_queue_wait_ms),
        ("batching_latency_target_ms", flags.batching_latency_target_ms),
        ("request_log_file_bytes", flags.request_log_file_bytes),
        ("request_log_file_age_s", flags.request_log_file_age_s),
        ("request_log_queue_bytes", flags.request_log_queue_bytes),
    ):
        if not value >= 0:  # Not a number is no limit either.
            raise InvalidArgument(f"--{name} must not be negative; got {value}")
