import os

import pytest

from salver.config.declaration import Declaration, Effect, Origin
from salver.config.flags import DECLARATIONS, Flags

CPUS = len(os.sched_getaffinity(0))

# Names, types and defaults of the flags of TensorFlow Serving.
THEIRS = [
    ("port", "int32", 8500),
    ("grpc_socket_path", "string", ""),
    ("rest_api_port", "int32", 0),
    ("rest_api_num_threads", "int32", 4 * CPUS),
    ("rest_api_timeout_in_ms", "int32", 30000),
    ("rest_api_enable_cors_support", "bool", False),
    ("enable_batching", "bool", False),
    ("allow_version_labels_for_unavailable_models", "bool", False),
    ("batching_parameters_file", "string", ""),
    ("enable_per_model_batching_parameters", "bool", False),
    ("model_config_file", "string", ""),
    ("model_config_file_poll_wait_seconds", "int32", 0),
    ("model_name", "string", "default"),
    ("model_base_path", "string", ""),
    ("num_load_threads", "int32", 0),
    ("num_unload_threads", "int32", 0),
    ("max_num_load_retries", "int32", 5),
    ("load_retry_interval_micros", "int64", 60000000),
    ("file_system_poll_wait_seconds", "int32", 1),
    ("flush_filesystem_caches", "bool", True),
    ("tensorflow_session_parallelism", "int64", 0),
    ("tensorflow_session_config_file", "string", ""),
    ("tensorflow_intra_op_parallelism", "int64", 0),
    ("tensorflow_inter_op_parallelism", "int64", 0),
    ("use_alts_credentials", "bool", False),
    ("ssl_config_file", "string", ""),
    ("platform_config_file", "string", ""),
    ("per_process_gpu_memory_fraction", "float", 0.0),
    ("saved_model_tags", "string", "serve"),
    ("grpc_channel_arguments", "string", ""),
    ("grpc_max_threads", "int32", 4 * CPUS),
    ("enable_model_warmup", "bool", True),
    ("num_request_iterations_for_warmup", "int32", 0),
    ("version", "bool", False),
    ("monitoring_config_file", "string", ""),
    ("remove_unused_fields_from_bundle_metagraph", "bool", True),
    ("prefer_tflite_model", "bool", False),
    ("num_tflite_pools", "int32", CPUS),
    ("num_tflite_interpreters_per_pool", "int32", 1),
    ("enable_signature_method_name_check", "bool", False),
    ("xla_cpu_compilation_enabled", "bool", False),
    ("xla_gpu_compilation_enabled", "bool", False),
    ("enable_profiler", "bool", True),
    ("thread_pool_factory_config_file", "string", ""),
    ("mixed_precision", "string", ""),
    ("skip_initialize_tpu", "bool", False),
    ("enable_grpc_healthcheck_service", "bool", False),
    ("enable_serialization_as_tensor_content", "bool", False),
]


def test_every_flag_of_tensorflow_serving_is_there_with_its_type_and_default() -> None:
    declared = [
        (entry.name, entry.kind.value, entry.default_value)
        for entry in DECLARATIONS
        if entry.origin is Origin.TENSORFLOW_SERVING
    ]
    assert declared == THEIRS


@pytest.mark.parametrize("declaration", DECLARATIONS, ids=lambda declaration: declaration.name)
def test_a_default_has_the_type_of_its_flag(declaration: Declaration) -> None:
    kinds = {"bool": bool, "int32": int, "int64": int, "float": float, "string": str}
    assert type(getattr(Flags(), declaration.name)) is kinds[declaration.kind.value]
    assert getattr(Flags(), declaration.name) == declaration.default_value


@pytest.mark.parametrize("declaration", DECLARATIONS, ids=lambda declaration: declaration.name)
def test_a_flag_has_one_line_of_meaning_and_a_reason_where_it_has_none_here(
    declaration: Declaration,
) -> None:
    assert declaration.description.endswith(".")
    assert "\n" not in declaration.description
    needs_reason = declaration.effect in (Effect.MEANINGLESS, Effect.REFUSED)
    assert bool(declaration.reason) == needs_reason


def test_the_delay_of_the_end_is_for_pods_of_kubernetes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert Flags().drain_delay_s == 0.0
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    # With the grace it must stay below the 30 seconds that a pod has.
    assert 0.0 < Flags().drain_delay_s < 30.0 - Flags().drain_grace_s
