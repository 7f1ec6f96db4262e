"""The worker: loads one version, and runs it for the server until that hangs up.

`python -m salver.isolation.worker SOCKET PARENT LABEL`, started by the server only.
"""

import ctypes
import faulthandler
import gc
import json
import logging
import os
import pickle
import signal
import socket
import sys
from collections.abc import Callable

from salver.core.servable import Loader, Program, Servable
from salver.errors import Code, InternalError, ProcessUnusable, ServingError
from salver.isolation import signature_layout
from salver.isolation.channel import Channel
from salver.isolation.message import UNNUMBERED, Kind, Message, Start

logger = logging.getLogger(__name__)

_LONGEST_TEXT = 16 * 1024
_PR_SET_PDEATHSIG = 1
_FIRST_TO_GO = 500
"""Added to what the kernel's out-of-memory killer chooses by: the server is the last to go."""


def main() -> None:
    """Serve, and end the process."""
    descriptor, parent, label = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    _live_and_die_with(parent)
    os.set_inheritable(descriptor, False)
    _log_as(label)
    channel = Channel(socket.socket(fileno=descriptor), writable=True)
    try:
        _serve(channel)
    except (EOFError, TimeoutError):
        logger.debug("The server has hung up")
    except ProcessUnusable as error:
        logger.error("The worker ends, and another one is started: %s", error)
    except Exception:
        logger.exception("The worker ends by an error that nobody expected")
    finally:
        logging.shutdown()
        sys.stdout.flush()
        # What a framework does when the interpreter is taken down is no longer of interest.
        os._exit(0)


def _live_and_die_with(parent: int) -> None:
    """Leave signals to the server, and end when it ends, however that comes about."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # The signal comes when the thread ends that started this process: the one that watches it.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
    try:
        with open("/proc/self/oom_score_adj", "r+") as file:
            own = int(file.read())
            file.seek(0)
            file.write(str(min(own + _FIRST_TO_GO, 1000)))
    except OSError:
        return  # not every system lets one


def _log_as(label: str) -> None:
    prefix = label.replace("%", "%%")
    logging.basicConfig(
        stream=sys.stderr,
        format=f"%(asctime)s %(levelname).1s %(name)s] {prefix}: %(message)s",
    )
    faulthandler.enable()
    for stream in (sys.stdout, sys.stderr):
        # What a model prints comes when it is printed.
        stream.reconfigure(errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]


def _serve(channel: Channel) -> None:
    start: Start = pickle.loads(channel.receive().text)
    sys.path[:] = start.import_path
    logging.getLogger().setLevel(start.log_level)
    loader: Loader | None = None
    try:
        make_loader: Callable[[], Loader] = pickle.loads(start.description)
        loader = make_loader()
        runs = _Runs(loader.load())
        loaded = Message(Kind.LOADED, arrays=signature_layout.encoded(runs.servable))
    except BaseException as failure:  # noqa: BLE001 - whatever it is, the server is to know
        channel.send(_failed(failure, "Loading the model"))
        return
    channel.send(loaded)
    del loaded
    # What is loaded by now stays: the garbage collector need not walk it again.
    gc.collect()
    gc.freeze()
    try:
        while True:
            runs.answer(channel)
    finally:
        loader.unload()


class _Runs:
    """Answers requests."""

    def __init__(self, servable: Servable) -> None:
        self.servable = servable
        self._programs: dict[int, Program] = {}
        self._end: ProcessUnusable | None = None

    def answer(self, channel: Channel) -> None:
        """Take one request and answer it.

        Raises:
            EOFError: the server has hung up.
            ProcessUnusable: that was the last one.
        """
        # Nothing holds the request any more when the answer goes, which then says that its
        # memory can be used again.
        reply = self._reply(channel.receive())
        try:
            channel.send(reply)
        except (EOFError, TimeoutError):
            raise
        except Exception as failure:  # noqa: BLE001 - outputs that are no arrays, or too large
            channel.send(_failed(failure, "An answer"))
        if self._end is not None:
            raise self._end

    def _reply(self, request: Message) -> Message:
        try:
            outputs = self._program(request).run(request.arrays)
            return Message(Kind.RESULT, arrays=outputs)
        except ProcessUnusable as failure:
            self._end = failure
            return _failed(failure, "A request")
        except BaseException as failure:  # noqa: BLE001 - even sys.exit() in a model
            return _failed(failure, "A request")

    def _program(self, request: Message) -> Program:
        program = self._programs.get(request.number)
        if program is None:
            feeds, fetches = json.loads(request.text)
            program = self.servable.program(tuple(feeds), tuple(fetches))
            if request.number != UNNUMBERED:
                self._programs[request.number] = program
        return program


def _failed(failure: BaseException, what: str) -> Message:
    """The same that a client would be told if the model ran in the server."""
    if not isinstance(failure, ServingError):
        logger.error("%s failed by what no backend should raise", what, exc_info=failure)
        failure = InternalError(f"The model failed: {type(failure).__name__}: {failure}")
    code: Code = failure.code
    text = failure.message.encode("utf-8", "replace")[:_LONGEST_TEXT]
    return Message(Kind.FAILED, code, text)


if __name__ == "__main__":
    main()
