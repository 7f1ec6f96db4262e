"""Every flag of the server, declared once: name, type, default, meaning and effect.

The flags of TensorFlow Serving keep their names, types, defaults and meanings.
What only Salver has comes after them. A flag that cannot do anything yet is
accepted all the same, so that existing command lines go on working, and the server
names it when it starts; only those that would protect the server are refused.
"""

import os
from dataclasses import dataclass

from salver.config.declaration import (
    Computed,
    Declaration,
    Effect,
    Kind,
    Origin,
    declarations_of,
    flag,
    int32,
    int64,
)
from salver.config.trust_flags import TrustFlags


def schedulable_cpus() -> int:
    """How many CPUs this process may run on."""
    return len(os.sched_getaffinity(0))


def kubernetes_delay_s() -> float:
    """How long it takes until a pod that ends is out of every list of addresses; 0 elsewhere.

    With --drain_grace_s it stays below the 30 seconds that Kubernetes gives a pod to end.
    """
    return 4.0 if "KUBERNETES_SERVICE_HOST" in os.environ else 0.0


_CPUS = Computed("number of CPUs", schedulable_cpus)
_UNPROTECTED = "the server would run without the protection that was asked for"
_FOUR_PER_CPU = Computed("4 times the number of CPUs", lambda: 4 * schedulable_cpus())


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags(TrustFlags):
    """The command line, read and typed."""

    port: int = int32(
        8500,
        "TCP port for gRPC; HTTP is answered on it too. 0: no such port.",
    )
    grpc_socket_path: str = flag(
        "",
        "Also listen for gRPC on this UNIX socket, an absolute or relative path.",
    )
    rest_api_port: int = int32(
        0,
        "TCP port for HTTP: REST and metrics. 0: no such port.",
    )
    rest_api_num_threads: int = int32(
        _FOUR_PER_CPU,
        "Threads of the HTTP server.",
        effect=Effect.MEANINGLESS,
        reason="one event loop serves all connections",
    )
    rest_api_timeout_in_ms: int = int32(
        30000,
        "Longest run of a model for one REST request, in milliseconds. 0 or less: no limit.",
    )
    rest_api_enable_cors_support: bool = flag(
        False,
        "Add CORS headers to every REST answer.",
    )
    enable_batching: bool = flag(
        False,
        "Run requests to the same model together.",
    )
    allow_version_labels_for_unavailable_models: bool = flag(
        False,
        "A label that is not in use yet may be given to a version that is not available.",
    )
    batching_parameters_file: str = flag(
        "",
        "Text-format BatchingParameters: how to batch; needs --enable_batching or --batching=auto.",
    )
    enable_per_model_batching_parameters: bool = flag(
        False,
        "Take the batching parameters from batching_params.pbtxt in each version's folder; "
        "a version without it is not batched, or automatically with --batching=auto.",
    )
    model_config_file: str = flag(
        "",
        "Text-format ModelServerConfig: the models to serve. "
        "With it, --model_name and --model_base_path are ignored.",
    )
    model_config_file_poll_wait_seconds: int = int32(
        0,
        "Read --model_config_file again every so many seconds. 0 or less: only at the start.",
    )
    model_name: str = flag(
        "default",
        "Name of the only model; ignored with --model_config_file.",
    )
    model_base_path: str = flag(
        "",
        "Folder or URI with the versions of the only model; ignored with --model_config_file.",
    )
    num_load_threads: int = int32(
        0,
        "Threads that load versions. 0: four for each CPU, and one more for each load that takes "
        "longer than ten seconds.",
    )
    num_unload_threads: int = int32(
        0,
        "Threads that unload versions. 0: one for each CPU.",
    )
    max_num_load_retries: int = int32(
        5,
        "How often a failed load is tried again. Negative: without end.",
    )
    load_retry_interval_micros: int = int64(
        60_000_000,
        "Pause before a failed load is tried again, in microseconds. Negative: no pause.",
    )
    file_system_poll_wait_seconds: int = int32(
        1,
        "Look for new versions every so many seconds. 0: only once. Negative: never.",
    )
    flush_filesystem_caches: bool = flag(
        True,
        "Drop the file system's caches after a load.",
        effect=Effect.MEANINGLESS,
        reason="files are read once and closed, and the system reclaims its caches by itself",
    )
    tensorflow_session_parallelism: int = int64(
        0,
        "Threads both within one operation and across operations. 0: chosen by the server.",
    )
    tensorflow_session_config_file: str = flag(
        "",
        "Text-format tensorflow.ConfigProto for every graph session; "
        "the flags overwrite its thread counts and its share of GPU memory.",
    )
    tensorflow_intra_op_parallelism: int = int64(
        0,
        "Threads within one operation. 0: chosen by the server.",
    )
    tensorflow_inter_op_parallelism: int = int64(
        0,
        "Threads across the operations of one run. 0: chosen by the server.",
    )
    use_alts_credentials: bool = flag(
        False,
        "Secure gRPC with Google's ALTS.",
        effect=Effect.REFUSED,
        reason=_UNPROTECTED,
    )
    ssl_config_file: str = flag(
        "",
        "Text-format SSLConfig: TLS on the gRPC port and the UNIX socket.",
    )
    platform_config_file: str = flag(
        "",
        "Text-format PlatformConfigMap that replaces the built-in one, and with it the flags of "
        "batching, parallelism, tags, warm-up, TensorFlow Lite and mixed precision.",
    )
    per_process_gpu_memory_fraction: float = flag(
        0.0,
        "Share of the GPU memory that the process takes at the start, 0 to 1. 0: as it needs.",
    )
    saved_model_tags: str = flag(
        "serve",
        "Comma-separated tags of the MetaGraph to load from a SavedModel.",
    )
    grpc_channel_arguments: str = flag(
        "",
        "Comma-separated key=value arguments of the gRPC library's channels.",
        effect=Effect.MEANINGLESS,
        reason="the gRPC library is not used",
    )
    grpc_max_threads: int = int32(
        _FOUR_PER_CPU,
        "Threads of the gRPC server.",
        effect=Effect.MEANINGLESS,
        reason="one event loop serves all connections; see --worker_threads",
    )
    enable_model_warmup: bool = flag(
        True,
        "Replay a version's warm-up requests before it becomes available.",
    )
    num_request_iterations_for_warmup: int = int32(
        0,
        "How often each warm-up request is replayed. 0 or less: once.",
    )
    version: bool = flag(
        False,
        "Print the versions of the server and of TensorFlow, and exit.",
    )
    monitoring_config_file: str = flag(
        "",
        "Text-format MonitoringConfig: whether and where metrics are shown to Prometheus.",
    )
    remove_unused_fields_from_bundle_metagraph: bool = flag(
        True,
        "Keep nothing but the signatures of a loaded MetaGraph in memory.",
        effect=Effect.MEANINGLESS,
        reason="nothing else is ever kept",
    )
    prefer_tflite_model: bool = flag(
        False,
        "Serve model.tflite of a version's folder where there is one.",
    )
    num_tflite_pools: int = int32(
        _CPUS,
        "Pools of TFLite interpreters for each version: so many requests run at once.",
    )
    num_tflite_interpreters_per_pool: int = int32(
        1,
        "Interpreters in each pool of TFLite interpreters; each of them runs requests of its own.",
    )
    enable_signature_method_name_check: bool = flag(
        False,
        "Refuse requests whose method is not the one that the signature was made for.",
    )
    xla_cpu_compilation_enabled: bool = flag(
        False,
        "Let TensorFlow compile graphs for the CPU with XLA.",
        effect=Effect.MEANINGLESS,
        reason="models that ask for XLA are always compiled",
    )
    xla_gpu_compilation_enabled: bool = flag(
        False,
        "Let TensorFlow compile graphs for the CPU and the GPU with XLA.",
        effect=Effect.MEANINGLESS,
        reason="models that ask for XLA are always compiled",
    )
    enable_profiler: bool = flag(
        True,
        "Offer TensorFlow's profiler service over gRPC: traces of the running server on demand.",
    )
    thread_pool_factory_config_file: str = flag(
        "",
        "Text-format ThreadPoolFactoryConfig.",
        effect=Effect.MEANINGLESS,
        reason="TensorFlow Serving comes with no factory that it could name",
    )
    mixed_precision: str = flag(
        "",
        "Run parts of the graph in this type: bfloat16 or nothing.",
    )
    skip_initialize_tpu: bool = flag(
        False,
        "Leave the TPU as it is at the start.",
        effect=Effect.MEANINGLESS,
        reason="it belongs to builds for TPUs",
    )
    enable_grpc_healthcheck_service: bool = flag(
        False,
        "Offer the service grpc.health.v1.Health.",
    )
    enable_serialization_as_tensor_content: bool = flag(
        False,
        "Answer Predict calls with tensor_content in place of the typed fields.",
    )

    host: str = flag(
        "",
        "Address that the TCP ports are bound on. Empty: gRPC on every address of IPv4, HTTP on "
        "those of IPv6 as well.",
        origin=Origin.SALVER,
    )
    model_cache_dir: str = flag(
        "",
        "Folder for local copies of versions whose base path is a URI, like s3://bucket/model. "
        "Empty: salver/models in the user's cache folder ($XDG_CACHE_HOME, else ~/.cache).",
        origin=Origin.SALVER,
    )
    custom_op_libraries: str = flag(
        "",
        "Comma-separated shared libraries with TensorFlow operations, loaded at the start.",
        origin=Origin.SALVER,
    )
    tflite_signature_defs: bool = flag(
        False,
        "Serve TFLite's own signatures of a model.tflite that has none in its metadata. Else it "
        "has one, with the names of its tensors, as in TensorFlow Serving.",
        origin=Origin.SALVER,
    )
    allow_pickle: bool = flag(
        False,
        "Load models that are pickled objects. To unpickle is to run code that lies in the file: "
        "only for models that you trust as you trust the server itself.",
        origin=Origin.SALVER,
    )
    allow_python_code: bool = flag(
        False,
        "Run the Python files that come with versions: model.py and pipeline.py. They run in the "
        "server, with all its rights: only for models that you trust as you trust the server "
        "itself.",
        origin=Origin.SALVER,
    )
    cpu_models: str = flag(
        "",
        "PyTorch and ONNX models that compute on the CPU although there is a GPU: a,b or all.",
        origin=Origin.SALVER,
    )
    isolate_models: str = flag(
        "auto",
        "Which models run in worker processes of their own. auto: those whose framework, or "
        "pipeline.py, keeps all other Python code waiting while it runs, and PyTorch's on a GPU. "
        "all, none. After a comma, names may follow: a, b:4 (with 4 workers), -c (not this one).",
        origin=Origin.SALVER,
    )
    isolated_workers: int = int32(
        0,
        "Worker processes of a version that is isolated: each has the whole model, and runs one "
        "request or batch at a time. 0: one for each CPU, at most 4; on a GPU one.",
        origin=Origin.SALVER,
    )
    isolated_run_limit_s: float = flag(
        60.0,
        "A worker process that takes longer for one run, or does not answer any more, is ended and "
        "started again. 0: never.",
        origin=Origin.SALVER,
    )
    max_request_bytes: int = int64(
        2**31 - 1,
        "Largest request body or gRPC message that is read.",
        origin=Origin.SALVER,
    )
    max_connections: int = int32(
        0,
        "Connections open at the same time, TLS handshakes included; more are closed at once. "
        "0: no limit.",
        origin=Origin.SALVER,
    )
    stall_timeout_s: float = flag(
        30.0,
        "A connection whose client owes the rest of a request, or does not read its answer, and "
        "makes no progress for so long, is cut; so is one that shakes hands for so long. 0: never.",
        origin=Origin.SALVER,
    )
    idle_timeout_s: float = flag(
        0.0,
        "A connection without a request for so long is closed. 0: never.",
        origin=Origin.SALVER,
    )
    rest_api_ssl_config_file: str = flag(
        "",
        "Text-format SSLConfig: TLS on the REST port; may be the file of --ssl_config_file. "
        "Empty: REST in the clear.",
        origin=Origin.SALVER,
    )
    rest_api_compression_min_bytes: int = int32(
        0,
        "REST answers of at least so many bytes are compressed for clients that accept gzip. "
        "0: never.",
        origin=Origin.SALVER,
    )
    drain_delay_s: float = flag(
        Computed("4 in a pod of Kubernetes, else 0", kubernetes_delay_s),
        "After SIGTERM or SIGINT, how long new requests are still taken while the health checks "
        "say already that the server is not ready.",
        kind=Kind.FLOAT,
        origin=Origin.SALVER,
    )
    drain_grace_s: float = flag(
        25.0,
        "After SIGTERM or SIGINT and --drain_delay_s, how long requests in flight may take to "
        "finish.",
        origin=Origin.SALVER,
    )
    reuse_port: bool = flag(
        False,
        "Share the TCP ports with other servers of the same user that have this flag, and take "
        "over a UNIX socket on which another one listens: to replace a server without a gap.",
        origin=Origin.SALVER,
    )
    enable_grpc_reflection: bool = flag(
        True,
        "Offer the services grpc.reflection.v1 and v1alpha.ServerReflection, as TensorFlow "
        "Serving always does.",
        origin=Origin.SALVER,
    )
    worker_threads: int = int32(
        0,
        "Threads that run models. 0: one for each CPU, and two at least.",
        origin=Origin.SALVER,
    )
    max_queue_wait_ms: int = int32(
        5000,
        "Requests are refused at once (UNAVAILABLE) while the wait for a worker is expected to be "
        "longer, or longer than their deadline allows. 0: only by the deadline.",
        origin=Origin.SALVER,
    )
    batching: str = flag(
        "tables",
        "auto: run requests to the same model together, in batches as large as pays by what they "
        "are measured to cost; of the parameters only pad_variable_length_inputs may be given. "
        "tables: the same for models of tables (scikit-learn, XGBoost, LightGBM, CatBoost, PMML, "
        "MOJO), whose rows do not depend on each other, unless --enable_batching is given; the "
        "others as that says. off: all as --enable_batching says.",
        origin=Origin.SALVER,
    )
    batching_latency_target_ms: float = flag(
        0.0,
        "With automatic batching: a batch that would take longer is shared by the threads that are "
        "idle, and for company it is waited half as long. 0: twice what a single row takes.",
        origin=Origin.SALVER,
    )
    inline_budget_us: int = int32(
        100,
        "A model that is expected to run for at most so many microseconds runs on the event loop, "
        "others on worker threads.",
        origin=Origin.SALVER,
    )
    request_log_file_bytes: int = int64(
        100 * 1024 * 1024,
        "Largest file of logged requests (see logging_config of a model); before it gets larger, "
        "the next one is begun. 0: no limit.",
        origin=Origin.SALVER,
    )
    request_log_file_age_s: float = flag(
        3600.0,
        "Seconds after which a file of logged requests is closed and the next one begun. "
        "0: no limit.",
        origin=Origin.SALVER,
    )
    request_log_queue_bytes: int = int64(
        64 * 1024 * 1024,
        "Memory for requests that wait to be logged; those that do not fit are not logged.",
        origin=Origin.SALVER,
    )
    access_log: str = flag(
        "",
        "Write a line of JSON for each request to this file, or to stderr. After SIGHUP the file "
        "is opened anew. Empty: no access log.",
        origin=Origin.SALVER,
    )
    log_level: str = flag(
        "info",
        "What is logged on stderr: debug, info, warning or error, and what is worse.",
        origin=Origin.SALVER,
    )


DECLARATIONS: tuple[Declaration, ...] = declarations_of(Flags)
"""All flags, in the order in which they are listed."""
