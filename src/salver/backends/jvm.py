"""The Java virtual machine that serves what only Java can read.

It lives in this process: JPype calls into it in a few microseconds and gives up the interpreter
lock meanwhile. It is started by the first model that needs it, in 0.2 seconds and 45 MB, and stays
until the process ends, for there can only be one. Its heap is bounded by `--jvm_max_heap_mb`; what
does not fit is an error of that load or request, not the end of the process. Each backend has a
class loader of its own, so that their libraries do not meet.

Java itself comes with the system's packages, JPype in the package `jpype1`: Apache-2.0, 0.4 MB,
wheels for Python 3.8 to 3.14.
"""

import logging
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from salver.backends.prerequisites import imported
from salver.core.backend import BackendOptions
from salver.errors import FailedPrecondition, InternalError, ResourceExhausted, ServingError

logger = logging.getLogger(__name__)

_OPTIONS = (
    "-Xrs",  # Signals are Python's.
    "-XX:+UseSerialGC",  # Gives memory back, and needs no threads of its own.
    "-Xms8m",  # The least that it shrinks to; the default depends on the machine.
    "-XX:MinHeapFreeRatio=10",
    "-XX:MaxHeapFreeRatio=20",
    "-XX:-ShrinkHeapInSteps",
    "-XX:MaxMetaspaceSize=256m",
    "-XX:ReservedCodeCacheSize=64m",
    "-XX:-UsePerfData",  # No files in /tmp.
    "-Djava.awt.headless=true",
    "-Djavax.xml.accessExternalDTD=",
    "-Djavax.xml.accessExternalSchema=",
)
_lock = threading.Lock()
_class_loaders: dict[tuple[str, ...], Any] = {}
_threads = threading.local()


class Java:
    """The classes of some jars, in the one virtual machine. From any thread."""

    def __init__(self, jpype: ModuleType, class_loader: Any, where: str, max_heap_mb: int) -> None:
        self.jpype = jpype
        self._class_loader = class_loader
        self._where = where
        self._max_heap_mb = max_heap_mb

    def class_(self, name: str) -> Any:
        """A class of the jars or of Java itself, by its full name.

        Raises:
            FailedPrecondition: there is none.
        """
        self.attach_thread()
        try:
            return self.jpype.JClass(name, loader=self._class_loader)
        except (TypeError, self.jpype.JException) as error:
            raise FailedPrecondition(
                f"{self._where}: the Java class {name} is not in the jars"
            ) from error

    @contextmanager
    def calls(
        self, failure: str, error_class: type[ServingError] = InternalError
    ) -> Iterator[None]:
        """Around calls: what Java throws becomes an error of ours, which `failure` begins.

        Raises:
            ResourceExhausted: the heap is full.
            ServingError: of `error_class`, for everything else.
        """
        self.attach_thread()
        try:
            yield
        except self.jpype.JException as error:
            text = _told(error)
            if "OutOfMemoryError" in text:
                raise ResourceExhausted(
                    f"{self._where}: {failure}: it does not fit into the {self._max_heap_mb} MiB "
                    "that --jvm_max_heap_mb gives to Java"
                ) from error
            raise error_class(f"{self._where}: {failure}: {text}") from error

    def attach_thread(self) -> None:
        """Have Java forget this thread at its end: else each leaves 10 kB there for good."""
        # The main thread ends with Java, and then there is nobody to tell.
        is_main = threading.current_thread() is threading.main_thread()
        if not is_main and not hasattr(_threads, "detached_at_end"):
            _threads.detached_at_end = _DetachedAtEnd(self.jpype)

    def collect_garbage(self) -> None:
        """Give back the memory of what is no longer referred to. Takes milliseconds."""
        self.attach_thread()
        self.jpype.java.lang.System.gc()


def java(jars: Sequence[Path], options: BackendOptions, extra: str) -> Java:
    """The virtual machine with these jars, started if it is not there yet. From a load thread.

    Raises:
        FailedPrecondition: Java or JPype is not installed, or it does not start.
    """
    jpype = imported("jpype", options, extra)
    where = f"Model {options.model_name}"
    key = tuple(str(jar) for jar in jars)
    with _lock:
        if not jpype.isJVMStarted():
            _start(jpype, where, options.jvm_max_heap_mb)
        if key not in _class_loaders:
            lang = jpype.java.lang
            urls = [jpype.java.io.File(jar).toURI().toURL() for jar in key]
            parent = lang.ClassLoader.getPlatformClassLoader()
            _class_loaders[key] = jpype.java.net.URLClassLoader(urls, parent)
        return Java(jpype, _class_loaders[key], where, options.jvm_max_heap_mb)


def _start(jpype: ModuleType, where: str, max_heap_mb: int) -> None:
    try:
        path = jpype.getDefaultJVMPath()
    except Exception as error:
        raise FailedPrecondition(
            f"{where} needs Java, which is not found: apt-get install default-jre-headless, or set "
            "JAVA_HOME to the folder of another"
        ) from error
    try:
        jpype.startJVM(path, *_OPTIONS, f"-Xmx{max_heap_mb}m", convertStrings=False)
    except Exception as error:
        raise FailedPrecondition(
            f"{where}: Java at {path} does not start: {type(error).__name__}: {error}"
        ) from error
    logger.info("Java is started: %s", path)


class _DetachedAtEnd:
    """Dies with the thread, in it."""

    def __init__(self, jpype: ModuleType) -> None:
        self._jpype = jpype

    def __del__(self) -> None:
        # At the end of the interpreter nothing is left to call.
        if not sys.is_finalizing() and self._jpype.isJVMStarted():
            self._jpype.java.lang.Thread.detach()


def _told(error: Any) -> str:
    """The exception's class, without packages, and the first line of its message."""
    name = str(error.getClass().getName()).rpartition(".")[2]
    message = error.getMessage()
    lines = str(message).splitlines() if message is not None else []
    return f"{name}: {lines[0]}" if lines else name
