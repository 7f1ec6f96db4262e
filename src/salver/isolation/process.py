"""One worker process as the server sees it: started, asked, ended."""

import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from salver.core.signature import Signature
from salver.errors import FailedPrecondition, InternalError, ServingError, Unavailable, error_of
from salver.isolation import signature_layout
from salver.isolation.channel import Channel
from salver.isolation.message import UNNUMBERED, Kind, Message, Start

_EXIT_IS_SEEN_S = 5.0


@dataclass(frozen=True, slots=True)
class Description:
    """What a loaded version says of itself."""

    signatures: dict[str, Signature]
    signature_def_map: bytes

    def require_like(self, first: "Description") -> None:
        """See that another worker has loaded the same as the first: names hold for all of them.

        Raises:
            FailedPrecondition: it has other signatures or tensors.
        """
        own, expected = (
            {n: (s.inputs, s.outputs) for n, s in each.signatures.items()} for each in (self, first)
        )
        if own != expected:
            raise FailedPrecondition(
                "A worker process has loaded other signatures than the first one did: "
                "the model's files have changed, or are read differently each time"
            )


class Gone(Exception):
    """The process has ended or was ended; `str` tells how, as the rest of a sentence."""


class WorkerProcess:
    """A running worker. `run` is for one thread at a time; `kill` for any."""

    def __init__(self, label: str, description: bytes) -> None:
        """Start the process. It ends with the thread that calls this, at the latest.

        Args:
            label: of the model, for its log lines and for `ps`.
            description: see `Start`.

        Raises:
            OSError: the system allows no further process.
        """
        own, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with its:
            command = [sys.executable, "-P", "-m", "salver.isolation.worker"]
            try:
                self._process = subprocess.Popen(
                    [*command, str(its.fileno()), str(os.getpid()), label.replace("\0", " ")],
                    stdin=subprocess.DEVNULL,
                    # What a model prints is not to be mixed with what the server prints.
                    stdout=2,
                    pass_fds=[its.fileno()],
                    # Keys like Ctrl-C are for the server.
                    process_group=0,
                )
            except BaseException:
                own.close()
                raise
        self._channel = Channel(own, writable=False)
        self._known: set[int] = set()
        self._asked = UNNUMBERED
        self._reason = ""
        self.is_gone = False
        """Whether somebody has found that it has ended."""
        level = logging.getLogger().getEffectiveLevel()
        self._start = Start(tuple(sys.path), level, description)

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def load(self, limit_s: float | None) -> Description:
        """Let it load its version.

        Raises:
            ServingError: that of its loader.
            Gone: it ended meanwhile, or took longer than the limit and was ended.
        """
        self._channel.limit(limit_s)
        reply = self._ask(Message(Kind.START, text=pickle.dumps(self._start)), limit_s)
        if reply.kind is not Kind.LOADED:
            raise _error(reply)
        return Description(*signature_layout.decoded(reply.arrays))

    def limit_runs(self, limit_s: float | None) -> None:
        """From now on a run that takes longer ends the process."""
        self._channel.limit(limit_s)

    def begin(self, number: int, names: bytes, inputs: Sequence[np.ndarray]) -> None:
        """Let it run a program; `finish` waits for the outputs.

        Raises:
            ServingError: the inputs cannot be sent; nothing has begun.
            EOFError: it has ended before anything has begun.
        """
        self._asked = number
        text = b"" if number in self._known else names
        message = Message(Kind.RUN, number, text, inputs)
        try:
            self._channel.send(message)
        except TimeoutError as error:
            self.kill("it was ended because it did not take a request")
            raise EOFError from error
        except OSError as error:
            raise Unavailable(f"No memory for the inputs: {error.strerror}") from error

    def finish(self, limit_s: float | None) -> list[np.ndarray]:
        """Wait for the outputs of what was begun.

        Raises:
            ServingError: that of the run.
            Gone: it ended meanwhile, or took longer than the limit and was ended.
        """
        reply = self._reply(limit_s)
        if reply.kind is not Kind.RESULT:
            raise _error(reply)
        if self._asked != UNNUMBERED:
            self._known.add(self._asked)
        return list(reply.arrays)

    def _ask(self, message: Message, limit_s: float | None) -> Message:
        try:
            self._channel.send(message)
        except (EOFError, TimeoutError) as error:
            raise self._gone() from error
        return self._reply(limit_s)

    def _reply(self, limit_s: float | None) -> Message:
        try:
            return self._channel.receive()
        except TimeoutError as error:
            self.kill(f"it was ended because it took longer than {limit_s:g} s")
            raise self._gone() from error
        except EOFError as error:
            raise self._gone() from error
        except (OSError, ValueError) as error:
            self.kill(f"it was ended because its answer could not be read: {error}")
            raise self._gone() from error

    def _gone(self) -> Gone:
        self.is_gone = True
        if not self.wait(_EXIT_IS_SEEN_S):
            self.kill("it was ended because it hung up")
            self.wait()
        return Gone(self.reason)

    def kill(self, reason: str) -> None:
        """End it now, and say so to whoever waits for it."""
        self._reason = self._reason or reason
        self._process.kill()
        self._channel.hang_up()

    def hang_up(self) -> None:
        """Let it end by itself."""
        self._channel.hang_up()

    def wait(self, limit_s: float | None = None) -> bool:
        """Wait until it has ended; False if it has not in so many seconds."""
        try:
            self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return False
        # A child of its own may hold the other end open.
        self._channel.hang_up()
        return True

    def close(self) -> None:
        """Give back what belongs to it here, when it has ended and nobody asks it any more."""
        self._channel.close()

    @property
    def reason(self) -> str:
        """How it ended."""
        return self._reason or in_words(self._process.returncode)


def in_words(code: int | None) -> str:
    """A process's exit code, as the rest of a sentence."""
    if code is None:
        return "it hung up"
    if code >= 0:
        return f"it ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = ", as the kernel does where memory is short" if name == "SIGKILL" else ""
    return f"it was killed by {name}{hint}"


def _error(reply: Message) -> ServingError:
    if reply.kind is not Kind.FAILED:
        return InternalError(f"The worker process answered with a {reply.kind.name}")
    return error_of(reply.number, reply.text.decode("utf-8", "replace"))
