"""How each version is loaded: its framework, a copy where it lies far away, batching, warm-up.

One object makes the loaders of all versions, from the flags, as links of a chain: what
logs, what copies, what prepares and warms up, what measures, what loads.
"""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

from salver.backends.detecting import DetectingLoader, NamedLoader, pipelined
from salver.backends.registry import Backends, loader_of
from salver.backends.saved_model_files import lacking_inside
from salver.backends.tensorflow import TensorFlowLoader, TensorFlowOptions
from salver.backends.tflite import BACKEND as TFLITE
from salver.backends.tflite import TfLiteLoader, TfLiteOptions
from salver.backends.tflite_first import TfLiteFirstLoader
from salver.config.flags import schedulable_cpus
from salver.config.model_config import AUTOMATIC, TENSORFLOW
from salver.config.settings import Settings
from salver.core.backend import Backend, BackendOptions, holds_interpreter_lock
from salver.core.load_job import LoaderOf
from salver.core.servable import Loader, ServableId
from salver.execution.prepared import PreparedServable, PreparingLoader
from salver.isolation.loader import IsolatedLoader, IsolationOptions
from salver.sources.remote_models import RemoteModels
from salver.sources.uri import scheme_of
from salver.telemetry.load_metrics import MeasuredLoader
from salver.telemetry.log_lines import LoggedLoader
from salver.telemetry.serving_metrics import ServingMetrics
from salver.transport.warm_up import WarmUp


class Platforms:
    """What `model_platform` may be. Looks for backends only where TensorFlow is not asked for."""

    def __init__(self, backends: Backends) -> None:
        self._backends = backends

    def __contains__(self, name: object) -> bool:
        return name in (TENSORFLOW, AUTOMATIC) or name in self._backends.names


class Loaders:
    """Makes loaders. Loop only; what they do is done on load threads."""

    def __init__(self, settings: Settings, metrics: ServingMetrics, backends: Backends) -> None:
        flags = self._flags = settings.flags
        self._settings = settings
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self.platforms = Platforms(backends)
        self._backends = backends
        self._platform_of: Mapping[str, str] = {}
        self.remote = RemoteModels(flags.model_cache_dir, backends.lacking, lacking_inside)
        self._warm_up = WarmUp(
            flags.num_request_iterations_for_warmup,
            flags.enable_signature_method_name_check,
            lambda report: self._loop.call_soon_threadsafe(metrics.warmed_up, report),
        )

    def use_platforms(self, platforms: Mapping[str, str]) -> None:
        """Load what comes from now on as the config says, by the name of the model."""
        self._platform_of = platforms

    def of(self, id_: ServableId, path: str) -> LoggedLoader[PreparedServable]:
        """The loader of the version in the folder or at the URI `path`."""
        loader: LoaderOf[PreparedServable]
        if scheme_of(path):
            loader = self.remote.loader(path, lambda folder: self._preparing_loader(id_, folder))
        else:
            loader = self._preparing_loader(id_, path)
        return LoggedLoader(id_, loader)

    def _preparing_loader(self, id_: ServableId, path: str) -> PreparingLoader:
        measured = MeasuredLoader(
            self._framework_loader(id_, path),
            lambda succeeded, elapsed_s: self._loop.call_soon_threadsafe(
                self._metrics.loads.load_attempted, path, succeeded, elapsed_s
            ),
        )
        batching = partial(self._settings.batching.of_version, path)
        if not self._flags.enable_model_warmup:
            return PreparingLoader(measured, lambda servable: None, batching, str(id_))
        return PreparingLoader(
            measured, lambda servable: self._warm_up.play(servable, id_, path), batching, str(id_)
        )

    def _framework_loader(self, id_: ServableId, path: str) -> Loader:
        platform = self._platform_of.get(id_.name, AUTOMATIC)
        backend_loader = partial(self._backend_loader, id_, path)
        if platform == TENSORFLOW:
            return self._tensorflow_loader(id_, path)
        if platform == AUTOMATIC:
            tensorflow = self._tensorflow_loader(id_, path)
            return DetectingLoader(path, tensorflow, self._backends, backend_loader)
        return NamedLoader(platform, self._backends, backend_loader)

    def _backend_loader(self, id_: ServableId, path: str, backend: Backend) -> Loader:
        if backend is TFLITE:
            return self._tflite_loader(id_, path)
        workers = self._workers_of(id_, holds_lock=holds_interpreter_lock(backend))
        options = self._backend_options(id_, workers)
        make = partial(backend.loader, path, options)
        if workers:
            # Another process finds the backend by its name.
            make = partial(loader_of, backend.name, path, options)
        return self._placed(id_, path, workers, make)

    def _backend_options(self, id_: ServableId, workers: int) -> BackendOptions:
        flags = self._flags
        return BackendOptions(
            model_name=id_.name,
            intra_op_threads=max(self._settings.session.intra_op_threads, 0),
            # A worker process runs one thing at a time.
            concurrency=1 if workers else flags.worker_threads or schedulable_cpus() + 1,
            allow_pickle=flags.allow_pickle,
            allow_python_code=flags.allow_python_code,
            jvm_max_heap_mb=flags.jvm_max_heap_mb,
            h2o_genmodel_jar=flags.h2o_genmodel_jar,
        )

    def _tensorflow_loader(self, id_: ServableId, path: str) -> Loader:
        session = self._settings.session
        libraries = self._flags.custom_op_libraries
        options = TensorFlowOptions(
            tags=self._settings.saved_model_tags,
            # Threads across requests beat threads within one, so one is our choice.
            intra_op_threads=session.intra_op_threads or 1,
            inter_op_threads=session.inter_op_threads,
            session_config=session.config_proto,
            op_libraries=tuple(libraries.split(",")) if libraries else (),
        )
        make = partial(TensorFlowLoader, path, options)
        workers = self._workers_of(id_, holds_lock=False)
        loader = self._placed(id_, path, workers, make)
        if self._flags.prefer_tflite_model:
            return TfLiteFirstLoader(path, self._tflite_loader(id_, path), loader)
        return loader

    def _tflite_loader(self, id_: ServableId, path: str) -> Loader:
        flags = self._flags
        workers = self._workers_of(id_, holds_lock=False)
        options = TfLiteOptions(
            pools=1 if workers else flags.num_tflite_pools,
            interpreters_per_pool=1 if workers else flags.num_tflite_interpreters_per_pool,
            own_signatures=flags.tflite_signature_defs,
        )
        return self._placed(id_, path, workers, partial(TfLiteLoader, path, options))

    def _workers_of(self, id_: ServableId, *, holds_lock: bool) -> int:
        return self._settings.isolation.workers_of(id_.name, holds_lock=holds_lock)

    def _placed(
        self, id_: ServableId, path: str, workers: int, make: Callable[[], Loader]
    ) -> Loader:
        """A loader in this process or in others, its pipeline with it."""
        make = partial(pipelined, make, path, self._backend_options(id_, workers))
        if not workers:
            return make()
        options = IsolationOptions(workers, self._settings.isolation.run_limit_s)
        changed = self._metrics.isolation.changed
        return IsolatedLoader(
            id_, make, options, lambda report: self._loop.call_soon_threadsafe(changed, report)
        )
