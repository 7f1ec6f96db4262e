"""A servable with everything decided that can be decided at load.

Per signature: which tensors are fed and fetched, in which order, and the program
that runs them, with a running estimate of what a run costs. The request path
only looks things up.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from salver.core.servable import DeepServable, Loader, Program, RemoteServable, Servable
from salver.core.signature import Signature
from salver.execution.batch_options import BatchOptions
from salver.execution.batch_queue import BatchQueue
from salver.execution.lane import Lane
from salver.execution.row_counts import RowCounts

# Costs are kept per power of two of the input size, so that a large request is
# never judged by what small ones took.
_SIZE_CLASSES = 64
_FIRST_RUNS = 4
SURPRISE = 10
"""A run on the loop that takes so many times what was expected was misjudged."""
# A client chooses the outputs and their order: without a bound it could fill the memory.
_MAX_EXECUTABLES = 1000
_SHORTEST_PROBATION = 16
_LONGEST_PROBATION = 100_000
_SHORTEST_SUSPICION = 1000
_MOST_NEWS = 5
"""A run on the loop that takes more times what was expected raises the estimate no further."""
_TRIED_AGAIN = 256
_LOWER_IN_COST, _HIGHER_IN_COST = 0.125, 0.03
"""What else goes on in the machine makes a run slower, never quicker."""


_Key = tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class _Kept:
    """What an executable had before its program was wrapped."""

    program: Program
    costs: tuple[list[Any], ...]
    next_probation: int


class Executable:
    """A program and what it costs. Owned by the loop; `program` runs on any thread."""

    __slots__ = (
        "_cpu_s",
        "_dear",
        "_kept",
        "_next_probation",
        "_next_suspicion",
        "_probation",
        "_quickest_s",
        "_runs",
        "alone",
        "cost_s",
        "expected_s",
        "lane",
        "order",
        "program",
        "queue",
        "suspicion",
        "unwatched",
    )

    def __init__(self, program: Program, lane: Lane | None = None) -> None:
        self.program = program
        self.lane = lane
        """Threads that its runs have for themselves, because they wait there; never the loop."""
        self.queue: BatchQueue | None = None
        """Where requests gather to be run together; None: each runs alone."""
        self.order: Order | None = None
        """How these inputs and outputs lie in those of `queue`, if not in the same order."""
        self.cost_s = [float("inf")] * _SIZE_CLASSES
        """Expected seconds of a run on the loop, by bit length of the input's bytes.

        Infinite where it is not known, or not to be trusted.
        """
        self.expected_s = [0.0] * _SIZE_CLASSES
        """How long a run keeps a worker busy that has a core to itself; 0 where it is not known."""
        self.suspicion = 0
        """So many more runs on the loop are to be measured by a `LoopWatch`."""
        self.unwatched = 0
        """So many more requests may run at once without a look at each: that would cost a tenth
        of a cheap run."""
        self.alone: RowCounts | None = None
        """Where they are counted, for the metrics."""
        self._dear = 0
        self._next_suspicion = _SHORTEST_SUSPICION
        self._cpu_s = [float("inf")] * _SIZE_CLASSES
        self._quickest_s = [float("inf")] * _SIZE_CLASSES
        self._runs = [0] * _SIZE_CLASSES
        self._probation = [0] * _SIZE_CLASSES
        self._next_probation = _SHORTEST_PROBATION
        self._kept: _Kept | None = None

    def wrap(self, program: Program) -> None:
        """Run this program for a while, which makes the same of inputs in another time."""
        if self._kept is None:
            costs = (self.cost_s, self._cpu_s, self._quickest_s, self._runs, self._probation)
            kept = tuple(list(each) for each in costs)
            self._kept = _Kept(self.program, kept, self._next_probation)
        self.program = program

    def unwrap(self) -> None:
        """Run the program from before, and expect of it what was expected before."""
        if self._kept is None:
            return
        self.program = self._kept.program
        self.cost_s, self._cpu_s, self._quickest_s, self._runs, self._probation = self._kept.costs
        self._next_probation = self._kept.next_probation
        self._kept = None

    def record_threaded(
        self, size_class: int, cpu_s: float, elapsed_s: float, failed: bool = False
    ) -> None:
        """Take in what a run on a worker took: of its thread's CPU time, and in all.

        Not the time in all: under load most of that is waiting for a core or for the interpreter
        lock, and a cheap program would look dear for ever. But where even the quickest run took
        many times its CPU time, the program waits, or has threads of its own, and would hold up
        the loop. A failed run may have ended before its work began: it makes no estimate smaller.
        """
        if failed and cpu_s <= self._cpu_s[size_class]:
            return
        known = self._cpu_s[size_class]
        if self._runs[size_class] < _FIRST_RUNS:
            # The first runs optimise graphs and fill caches: the quickest is the truest.
            self._runs[size_class] += 1
            self._cpu_s[size_class] = min(known, cpu_s)
        else:
            self._cpu_s[size_class] = known + (cpu_s - known) * 0.125
        self._quickest_s[size_class] = min(self._quickest_s[size_class], elapsed_s)
        if self._runs[size_class] >= _FIRST_RUNS:
            self.expected_s[size_class] = self._quickest_s[size_class]
        if self._probation[size_class]:
            self._probation[size_class] -= 1
        elif self.lane is None:
            surely_s = self._quickest_s[size_class] / SURPRISE
            self.cost_s[size_class] = max(self._cpu_s[size_class], surely_s)

    def was_dear(self, size_class: int) -> None:
        """A run is left to threads, for what it costs. Now and then one like it is not, to see.

        Among threads that wait for each other's interpreter lock, a run takes several times the
        CPU time that it takes on the loop, and as long as all run there, nothing else would show
        it. Only where the quickest run of all was quick enough.
        """
        self._dear += 1
        if self._dear >= _TRIED_AGAIN:
            self._dear = 0
            if self.lane is None and not self._probation[size_class]:
                quickest_s = self._quickest_s[size_class]
                self.cost_s[size_class] = min(self.cost_s[size_class], quickest_s)

    def record_inline(
        self, size_class: int, elapsed_s: float, limit_s: float, failed: bool = False
    ) -> None:
        """Take in how long a run held up the loop; beyond `limit_s` it is kept off it a while.

        A program may take little CPU time of its caller and still take long, because it
        waits or has threads of its own. Each such surprise doubles the time until the next.
        But another process may have had the core: a surprise counts only under `suspicion`,
        which the first one raises.
        """
        if self.suspicion:
            self.suspicion -= 1
        elif elapsed_s > limit_s:
            self.suspicion = self._next_suspicion
            self._next_suspicion = min(2 * self._next_suspicion, _LONGEST_PROBATION)
            return
        elif self._next_suspicion > _SHORTEST_SUSPICION:
            self._next_suspicion -= 1
        if elapsed_s > limit_s:
            self._probation[size_class] = self._next_probation
            self._next_probation = min(2 * self._next_probation, _LONGEST_PROBATION)
            self.cost_s[size_class] = float("inf")
            return
        cost = self.cost_s[size_class]
        if cost == float("inf") or (failed and elapsed_s <= cost):
            return
        # Moments without a core must not make it look dear to those who would batch it then.
        news_s = min(elapsed_s, _MOST_NEWS * cost) - cost
        self.cost_s[size_class] = cost + news_s * (
            _LOWER_IN_COST if news_s < 0 else _HIGHER_IN_COST
        )
        if self._next_probation > _SHORTEST_PROBATION:
            self._next_probation -= 1


class Order:
    """The way from one order of the same tensors to another, and back."""

    __slots__ = ("_inputs", "_outputs")

    def __init__(self, own: _Key, queued: _Key) -> None:
        self._inputs = [own[0].index(name) for name in queued[0]]
        self._outputs = [queued[1].index(name) for name in own[1]]

    def inputs(self, own: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The inputs as the queue has them."""
        return [own[place] for place in self._inputs]

    def outputs(self, queued: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs as the request has them."""
        return [queued[place] for place in self._outputs]


class PreparedSignature:
    """One signature, ready to run with all its outputs. Attributes are read on each request."""

    __slots__ = (
        "executable", "feeds", "input_name_set", "input_names", "measured", "output_names",
        "signature", "takes_deep_arrays",
    )  # fmt: skip

    def __init__(
        self,
        signature: Signature,
        executable: Executable,
        feeds: tuple[str, ...],
        takes_deep_arrays: bool = False,
    ) -> None:
        self.signature = signature
        self.executable = executable
        self.feeds = feeds
        self.input_names = tuple(signature.inputs)
        self.input_name_set = frozenset(self.input_names)
        self.output_names = tuple(signature.outputs)
        self.takes_deep_arrays = takes_deep_arrays
        """Whether inputs may be `DeepArray`s."""
        self.measured: dict[str, Any] = {}
        """For those who measure runs: what they have found, by the API of the request."""


Wrapper = Callable[[Program, str], Program]
"""From a program and the name of its signature, empty if it is that of none, to another program."""


class PreparedServable:
    """What the manager hands out: a servable and its prepared signatures."""

    def __init__(
        self, servable: Servable, batching: BatchOptions | None = None, name: str = ""
    ) -> None:
        self._name = name
        self._servable = servable
        self._batching = batching
        self._executables: dict[_Key, Executable] = {}
        self._queued: dict[object, tuple[_Key, Executable]] = {}
        self._wrapper: Wrapper | None = None
        self.lane = Lane(servable.places) if isinstance(servable, RemoteServable) else None
        self.signature_def_map = servable.signature_def_map
        self.signatures: Mapping[str, PreparedSignature] = {
            name: self._prepare(signature) for name, signature in servable.signatures.items()
        }

    def _prepare(self, signature: Signature) -> PreparedSignature:
        feeds = tuple(spec.name for spec in signature.inputs.values())
        fetches = tuple(spec.name for spec in signature.outputs.values())
        is_deep = isinstance(self._servable, DeepServable) and self._servable.takes_deep_arrays
        return PreparedSignature(signature, self.executable(feeds, fetches), feeds, is_deep)

    def executable(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> Executable:
        """The program from `feeds` to `fetches` (backend tensor names), resolved once.

        Raises:
            ServingError: the servable has no such tensor.
        """
        key = (feeds, fetches)
        found = self._executables.get(key)
        if found is None:
            found = Executable(self._servable.program(feeds, fetches), self.lane)
            if self._wrapper is not None:
                found.wrap(self._wrapper(found.program, ""))
            if len(self._executables) < _MAX_EXECUTABLES:
                self._executables[key] = found
                if self._batching is not None:
                    self._give_queue(found, key, self._batching)
        return found

    def _give_queue(self, executable: Executable, key: _Key, options: BatchOptions) -> None:
        """Programs over the same tensors share a queue, whatever their order."""
        feeds, fetches = key
        if options.is_automatic and not self._has_rows(feeds, fetches):
            return
        tensors = (frozenset(feeds), frozenset(fetches))
        first = self._queued.setdefault(tensors, (key, executable))
        queued, other = first
        if other.queue is None:
            other.queue = self._queue(other, options, feeds)
        elif (sorted(queued[0]), sorted(queued[1])) == (sorted(feeds), sorted(fetches)):
            executable.queue = other.queue
            executable.order = None if queued == key else Order(key, queued)
        else:
            # A tensor comes twice in one of the two: their rows cannot be told apart.
            executable.queue = self._queue(executable, options, feeds)

    def _queue(
        self, executable: Executable, options: BatchOptions, feeds: Sequence[str]
    ) -> BatchQueue:
        return BatchQueue(executable, options, len(set(feeds)) < len(feeds), self._name)

    def _has_rows(self, feeds: Sequence[str], fetches: Sequence[str]) -> bool:
        """Whether the model declares that any number of rows may go in and come out."""
        shapes = {}
        for signature in self._servable.signatures.values():
            for spec in (*signature.inputs.values(), *signature.outputs.values()):
                shapes[spec.name] = spec.shape
        for name in (*feeds, *fetches):
            shape = shapes.get(name)
            if shape is not None and (not shape or shape[0] >= 0):
                return False
        return bool(feeds)

    @property
    def queues(self) -> list[BatchQueue]:
        """The queues of all programs that are batched."""
        executables = self._executables.values()
        return [found.queue for found in executables if found.queue is not None]

    def wrap_programs(self, wrapper: Wrapper) -> None:
        """Run what `wrapper` makes of each program, until `unwrap_programs`. Loop only."""
        self._wrapper = wrapper
        names = {id(each.executable): name for name, each in self.signatures.items()}
        for executable in self._executables.values():
            executable.wrap(wrapper(executable.program, names.get(id(executable), "")))

    def unwrap_programs(self) -> None:
        """Run the programs themselves again, and expect of them what was expected before."""
        self._wrapper = None
        for executable in self._executables.values():
            executable.unwrap()

    def part(self) -> None:
        """Nothing runs here any more: part the programs from their queues, which refer to them.

        The collector could not do it: it does not look at what was loaded.
        """
        for executable in self._executables.values():
            executable.queue = None
        if self.lane is not None:
            self.lane.close()


WarmUp = Callable[[PreparedServable], None]
Batching = Callable[[], BatchOptions | None]
"""How a version is to be batched, asked when it is loaded; raises ServingError."""


class PreparingLoader:
    """A loader whose servable comes prepared and warm; the work is done on the load thread."""

    def __init__(
        self,
        loader: Loader,
        warm_up: WarmUp,
        batching: Batching = lambda: None,
        name: str = "",
    ) -> None:
        self._loader = loader
        self._warm_up = warm_up
        self._batching = batching
        self._name = name
        self._servable: PreparedServable | None = None

    def load(self) -> PreparedServable:
        """Load, prepare and warm up; what fails in between is not kept.

        Raises:
            ServingError: the load or a request of the warm-up failed.
        """
        loaded = self._loader.load()
        try:
            servable = PreparedServable(loaded, self._batching(), self._name)
            self._servable = servable
            with loaded.warming_up() if isinstance(loaded, RemoteServable) else nullcontext():
                self._warm_up(servable)
        except BaseException:
            self.unload()
            raise
        return servable

    def unload(self) -> None:
        """See `Loader.unload`."""
        self._loader.unload()
        if self._servable is not None:
            self._servable.part()
            self._servable = None
