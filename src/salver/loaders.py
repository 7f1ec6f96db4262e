"""How each version is loaded: its framework, a copy where it lies far away, batching, warm-up.

One object makes the loaders of all versions, from the flags, as links of a chain: what
logs, what copies, what prepares and warms up, what measures, what loads.
"""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from salver.backends.registry import Backends
from salver.backends.saved_model_files import lacking_inside
from salver.backends.tensorflow import TensorFlowOptions
from salver.backends.tensorflow_library import give_models_own_threads
from salver.backends.tflite import TfLiteOptions
from salver.backends.version_folder import VersionFolder, loader_of
from salver.config.flags import schedulable_cpus
from salver.config.settings import Settings
from salver.core.backend import AUTOMATIC, TENSORFLOW, Apart, BackendOptions
from salver.core.events import StateChanged
from salver.core.load_job import LoaderOf
from salver.core.memory_check import LoadMemory, MemoryCheckLoader
from salver.core.quiet_thread import run_quietly
from salver.core.servable import Loader, Servable, ServableId
from salver.core.state import State
from salver.execution.prepared import PreparedServable, PreparingLoader
from salver.execution.thread_choice import Choice, ThreadChoosingLoader, measured_pace
from salver.isolation.loader import IsolatedLoader, IsolationOptions
from salver.scanning.refusing_loader import RefusingLoader, refusing_loader_of
from salver.sources.remote_models import RemoteModels
from salver.sources.uri import scheme_of
from salver.telemetry.load_metrics import MeasuredLoader
from salver.telemetry.log_lines import LoggedLoader
from salver.telemetry.serving_metrics import ServingMetrics
from salver.transport.warm_up import WarmUp

T = TypeVar("T")


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
        self._available: set[ServableId] = set()
        self.ports_are_open = False
        """Whether anybody is served: before, all loads have all of the cores."""
        # Threads that run operations side by side are for models that the operator knows well.
        session = settings.session
        self._chooses_threads = not session.intra_op_threads and session.inter_op_threads <= 0
        self._thread_choices: dict[str, Choice] = {}
        if self._chooses_threads:
            give_models_own_threads()
        self._load_memory = LoadMemory()
        self._warm_up = WarmUp(
            flags.num_request_iterations_for_warmup,
            flags.enable_signature_method_name_check,
            lambda report: self._loop.call_soon_threadsafe(metrics.warmed_up, report),
        )

    def on_state(self, event: StateChanged) -> None:
        """Take in what is served: loads beside it are quiet ones."""
        if event.state is State.AVAILABLE:
            self._available.add(event.id)
        else:
            self._available.discard(event.id)

    def _quietly(self, work: Callable[[], T]) -> T:
        """Have it done with less of the cores, while others are served. From a load thread."""
        return run_quietly(work, self._niceness())

    def _niceness(self) -> int:
        return self._flags.load_niceness if self.ports_are_open and self._available else 0

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
        folder = self._version_folder(id_, path)
        measured = MeasuredLoader(
            self._checked_loader(id_, folder),
            lambda succeeded, elapsed_s: self._loop.call_soon_threadsafe(
                self._metrics.loads.load_attempted, path, succeeded, elapsed_s
            ),
        )
        batching = partial(
            self._settings.batching.of_version,
            path,
            partial(folder.rows_are_independent, self._backends),
        )
        if not self._flags.enable_model_warmup:
            return PreparingLoader(measured, lambda servable: None, batching, str(id_))

        def warm_up(servable: PreparedServable) -> None:
            self._quietly(lambda: self._warm_up.play(servable, id_, path))

        return PreparingLoader(measured, warm_up, batching, str(id_))

    def _checked_loader(self, id_: ServableId, folder: VersionFolder) -> Loader:
        loader = IsolationChoiceLoader(
            folder,
            self._backends,
            partial(self._settings.isolation.workers_of, id_.name),
            partial(self._isolated, id_),
            partial(self._inline, id_),
        )
        if not self._flags.load_memory_check:
            return loader
        return MemoryCheckLoader(loader, loader.estimated_bytes, self._load_memory, str(id_))

    def _isolated(self, id_: ServableId, folder: VersionFolder, workers: int) -> Loader:
        options = IsolationOptions(workers, self._settings.isolation.run_limit_s)
        changed = self._metrics.isolation.changed
        exceptions = self._settings.unsafe_model_exceptions
        if exceptions is None:
            make_loader = partial(loader_of, folder.one_at_a_time())
        else:
            # A worker that is started again finds the files as they are then.
            make_loader = partial(refusing_loader_of, folder.one_at_a_time(), exceptions)
        return IsolatedLoader(
            id_,
            make_loader,
            options,
            lambda report: self._loop.call_soon_threadsafe(changed, report),
        )

    def _inline(self, id_: ServableId, folder: VersionFolder) -> Loader:
        loader: Loader
        if self._chooses_threads and folder.has_threads_of_its_own(self._backends):
            loader = ThreadChoosingLoader(
                id_.name,
                lambda threads: self._quiet_loader(folder.with_threads(threads)),
                lambda servable: self._quietly(
                    lambda: self._warm_up.replay(servable, id_, folder.path)
                ),
                schedulable_cpus(),
                self._thread_choices,
                measure=lambda servable, run, cores: self._quietly(
                    lambda: measured_pace(servable, run, cores)
                ),
            )
        else:
            loader = self._quiet_loader(folder)
        exceptions = self._settings.unsafe_model_exceptions
        return loader if exceptions is None else RefusingLoader(folder.path, exceptions, loader)

    def _quiet_loader(self, folder: VersionFolder) -> Loader:
        return folder.loads_quietly(self._niceness()).loader(self._backends)

    def _version_folder(self, id_: ServableId, path: str) -> VersionFolder:
        flags, session = self._flags, self._settings.session
        libraries = flags.custom_op_libraries
        return VersionFolder(
            path=path,
            platform=self._platform_of.get(id_.name, AUTOMATIC),
            tensorflow=TensorFlowOptions(
                tags=self._settings.saved_model_tags,
                # Threads across requests beat threads within one, so one is our choice.
                intra_op_threads=session.intra_op_threads or 1,
                inter_op_threads=session.inter_op_threads,
                session_config=session.config_proto,
                op_libraries=tuple(libraries.split(",")) if libraries else (),
                expects_batches=self._settings.batching.options is not None,
            ),
            tflite=TfLiteOptions(
                pools=flags.num_tflite_pools,
                interpreters_per_pool=flags.num_tflite_interpreters_per_pool,
                own_signatures=flags.tflite_signature_defs,
            ),
            prefers_tflite=flags.prefer_tflite_model,
            backend=BackendOptions(
                model_name=id_.name,
                intra_op_threads=max(session.intra_op_threads, 0),
                concurrency=self._settings.workers,
                on_cpu=not {id_.name, "all"}.isdisjoint(_names(flags.cpu_models)),
                allow_pickle=flags.allow_pickle,
                allow_python_code=flags.allow_python_code,
                jvm_max_heap_mb=flags.jvm_max_heap_mb,
                h2o_genmodel_jar=flags.h2o_genmodel_jar,
                trusted_types=frozenset(_names(flags.skops_trusted_types)),
            ),
        )


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


class IsolationChoiceLoader:
    """Loads a version here or in worker processes, as its files and the operator say."""

    def __init__(
        self,
        folder: VersionFolder,
        backends: Backends,
        workers_of: Callable[[Apart], int],
        isolated: Callable[[VersionFolder, int], Loader],
        inline: Callable[[VersionFolder], Loader],
    ) -> None:
        """Store what is needed.

        Args:
            folder: the version.
            backends: those that are installed.
            workers_of: tells, by whether the model needs them, how many worker processes it is to
                have; 0: none.
            isolated: makes a loader with so many.
            inline: makes a loader for this process.
        """
        self._folder = folder
        self._backends = backends
        self._workers_of = workers_of
        self._isolated = isolated
        self._inline = inline
        self._chosen: Loader | None = None

    def load(self) -> Servable:
        """Choose and load. From a load thread.

        Raises:
            ServingError: see `VersionFolder.loader` and `IsolatedLoader.load`.
        """
        workers = self._workers()
        if workers:
            self._chosen = self._isolated(self._folder, workers)
        else:
            self._chosen = self._inline(self._folder)
        return self._chosen.load()

    def _workers(self) -> int:
        return self._workers_of(self._folder.apart(self._backends))

    def estimated_bytes(self) -> int:
        """What a load will take in memory, roughly, in all of its processes."""
        return self._folder.estimated_bytes(self._backends) * max(self._workers(), 1)

    def unload(self) -> None:
        """See `Loader.unload`."""
        if self._chosen is not None:
            self._chosen.unload()
