"""How each version is loaded: its framework, a copy where it lies far away, batching, warm-up.

One object makes the loaders of all versions, from the flags, as links of a chain: what
logs, what copies, what prepares and warms up, what measures, what loads.
"""

import asyncio
from collections.abc import Mapping
from functools import partial

from salver.backends.detecting import DetectingLoader, NamedLoader, PipelineChoiceLoader
from salver.backends.registry import Backends
from salver.backends.saved_model_files import lacking_inside
from salver.backends.tensorflow import TensorFlowLoader, TensorFlowOptions
from salver.backends.tflite import BACKEND as TFLITE
from salver.backends.tflite import TfLiteLoader, TfLiteOptions
from salver.backends.tflite_first import TfLiteFirstLoader
from salver.config.flags import schedulable_cpus
from salver.config.model_config import AUTOMATIC, TENSORFLOW
from salver.config.settings import Settings
from salver.core.backend import Backend, BackendOptions
from salver.core.load_job import LoaderOf
from salver.core.servable import Loader, ServableId
from salver.execution.prepared import PreparedServable, PreparingLoader
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
            PipelineChoiceLoader(
                path, self._framework_loader(id_, path), self._backend_options(id_)
            ),
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
        loader_of = partial(self._backend_loader, id_, path)
        if platform == TENSORFLOW:
            return self._tensorflow_loader(path)
        if platform == AUTOMATIC:
            tensorflow = self._tensorflow_loader(path)
            return DetectingLoader(path, tensorflow, self._backends, loader_of)
        return NamedLoader(platform, self._backends, loader_of)

    def _backend_loader(self, id_: ServableId, path: str, backend: Backend) -> Loader:
        if backend is TFLITE:
            return self._tflite_loader(path)
        return backend.loader(path, self._backend_options(id_))

    def _backend_options(self, id_: ServableId) -> BackendOptions:
        flags = self._flags
        return BackendOptions(
            model_name=id_.name,
            intra_op_threads=max(self._settings.session.intra_op_threads, 0),
            concurrency=flags.worker_threads or schedulable_cpus() + 1,
            allow_pickle=flags.allow_pickle,
            allow_python_code=flags.allow_python_code,
        )

    def _tensorflow_loader(self, path: str) -> Loader:
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
        loader = TensorFlowLoader(path, options)
        if self._flags.prefer_tflite_model:
            return TfLiteFirstLoader(path, self._tflite_loader(path), loader)
        return loader

    def _tflite_loader(self, path: str) -> TfLiteLoader:
        options = TfLiteOptions(
            pools=self._flags.num_tflite_pools,
            interpreters_per_pool=self._flags.num_tflite_interpreters_per_pool,
            own_signatures=self._flags.tflite_signature_defs,
        )
        return TfLiteLoader(path, options)
