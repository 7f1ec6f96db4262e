import gc
import itertools
import math
import weakref
from collections.abc import Mapping, Sequence
from contextlib import nullcontext

import numpy as np
import pytest

from salver.core.data_type import DataType
from salver.core.servable import Program
from salver.core.signature import Signature, TensorSpec
from salver.errors import DataLoss, InvalidArgument
from salver.execution.batch_options import BatchOptions
from salver.execution.prepared import Executable, PreparedServable, PreparingLoader


class NamedProgram:
    """Its only use is to be recognised."""

    def __init__(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> None:
        self.way = (feeds, fetches)

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        raise NotImplementedError


class NamedServable:
    """Counts what it is asked to resolve; knows no tensor called `missing:0`."""

    signature_def_map = b"as in the file"

    def __init__(self, signatures: Mapping[str, Signature]) -> None:
        self.signatures = signatures
        self.resolved: list[tuple[tuple[str, ...], tuple[str, ...]]] = []

    def program(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> NamedProgram:
        if "missing:0" in fetches:
            raise InvalidArgument("Tensor missing:0 not found in Graph")
        self.resolved.append((feeds, fetches))
        return NamedProgram(feeds, fetches)


def specs(**tensors: str) -> dict[str, TensorSpec]:
    return {name: TensorSpec(tensor, DataType.FLOAT, None) for name, tensor in tensors.items()}


SIGNATURE = Signature("both", specs(b="in_b:0", a="in_a:0"), specs(z="out_z:0", y="out_y:0"))
SAME_WAY = Signature("again", specs(q="in_b:0", p="in_a:0"), specs(s="out_z:0", r="out_y:0"))


def test_a_signature_keeps_the_order_of_its_inputs_and_outputs() -> None:
    prepared = PreparedServable(NamedServable({"both": SIGNATURE})).signatures["both"]
    assert prepared.input_names == ("b", "a")
    assert prepared.output_names == ("z", "y")
    assert prepared.feeds == ("in_b:0", "in_a:0")
    assert prepared.signature is SIGNATURE
    assert isinstance(prepared.executable.program, NamedProgram)
    assert prepared.executable.program.way == (("in_b:0", "in_a:0"), ("out_z:0", "out_y:0"))


def test_signatures_that_go_the_same_way_share_one_program() -> None:
    servable = NamedServable({"both": SIGNATURE, "again": SAME_WAY})
    prepared = PreparedServable(servable)
    assert prepared.signatures["both"].executable is prepared.signatures["again"].executable
    assert len(servable.resolved) == 1


def test_every_way_is_resolved_once() -> None:
    servable = NamedServable({})
    prepared = PreparedServable(servable)
    first = prepared.executable(("a:0",), ("b:0",))
    assert prepared.executable(("a:0",), ("b:0",)) is first
    assert prepared.executable(("a:0",), ("c:0",)) is not first
    assert len(servable.resolved) == 2


def test_the_ways_that_are_kept_are_bounded_and_the_others_work_all_the_same() -> None:
    servable = NamedServable({})
    prepared = PreparedServable(servable)
    ways = list(itertools.permutations([f"out{n}:0" for n in range(7)]))
    for _ in range(2):
        for fetches in ways:
            program = prepared.executable(("a:0",), fetches).program
            assert isinstance(program, NamedProgram)
            assert program.way == (("a:0",), fetches)
    assert len(ways) < len(servable.resolved) < 2 * len(ways)


def test_a_tensor_that_is_not_there_is_an_error_each_time() -> None:
    prepared = PreparedServable(NamedServable({}))
    for _ in range(2):
        with pytest.raises(InvalidArgument, match="missing:0"):
            prepared.executable((), ("missing:0",))


class NamedLoader:
    def __init__(self) -> None:
        self.unloads = 0

    def load(self) -> NamedServable:
        if self.unloads:
            raise DataLoss("gone")
        return NamedServable({"both": SIGNATURE})

    def unload(self) -> None:
        self.unloads += 1


def test_a_preparing_loader_warms_up_what_it_has_prepared() -> None:
    loader = NamedLoader()
    warmed: list[PreparedServable] = []
    preparing = PreparingLoader(loader, warmed.append)
    servable = preparing.load()
    assert warmed == [servable]
    assert list(servable.signatures) == ["both"]
    assert servable.signature_def_map == b"as in the file"
    preparing.unload()
    assert loader.unloads == 1


def test_a_load_that_fails_is_not_warmed_up() -> None:
    loader = NamedLoader()
    loader.unloads = 1
    warmed: list[PreparedServable] = []
    with pytest.raises(DataLoss, match="gone"):
        PreparingLoader(loader, warmed.append).load()
    assert not warmed


def test_a_warm_up_that_fails_fails_the_load_and_keeps_nothing() -> None:
    loader = NamedLoader()

    def fail(servable: PreparedServable) -> None:
        raise InvalidArgument("bad record")

    with pytest.raises(InvalidArgument, match="bad record"):
        PreparingLoader(loader, fail).load()
    assert loader.unloads == 1


@pytest.mark.parametrize("is_warm", [True, False])
def test_what_was_unloaded_needs_no_collector_to_be_freed(is_warm: bool) -> None:
    programs: list[weakref.ref[Program]] = []

    def warm_up(servable: PreparedServable) -> None:
        executable = servable.signatures["both"].executable
        assert executable.queue is not None
        programs.append(weakref.ref(executable.program))
        if not is_warm:
            raise InvalidArgument("bad record")

    gc.disable()
    try:
        preparing = PreparingLoader(NamedLoader(), warm_up, BatchOptions)
        with nullcontext() if is_warm else pytest.raises(InvalidArgument):
            preparing.load()
        if is_warm:
            preparing.unload()
        assert programs[0]() is None
    finally:
        gc.enable()


def measured(*cpu_s: float) -> Executable:
    executable = Executable(NamedProgram((), ()))
    for seconds in cpu_s:
        executable.record_threaded(5, seconds, seconds)
    return executable


def test_a_cost_is_not_known_before_the_first_run() -> None:
    assert set(measured().cost_s) == {math.inf}


def test_the_quickest_of_the_first_runs_is_the_estimate() -> None:
    assert measured(9.0, 0.5, 3.0, 4.0).cost_s[5] == 0.5


def test_later_runs_move_the_estimate_by_an_eighth() -> None:
    assert measured(2.0, 2.0, 2.0, 2.0, 10.0).cost_s[5] == 3.0
    executable = measured(2.0)
    executable.record_inline(5, 1.0, limit_s=100.0)
    assert executable.cost_s[5] == 1.875


def test_moments_without_a_core_make_a_run_on_the_loop_look_hardly_dearer() -> None:
    executable = measured(2.0)
    for elapsed_s in (10.0, 50.0, 10.0):
        executable.record_inline(5, elapsed_s, limit_s=100.0)
    assert 2.0 < executable.cost_s[5] < 3.0
    # What stays is believed all the same.
    for _ in range(200):
        executable.record_inline(5, 10.0, limit_s=100.0)
    assert executable.cost_s[5] > 9.0


def test_time_that_is_only_waited_for_a_core_does_not_raise_the_estimate() -> None:
    executable = measured(0.5)
    for elapsed_s in (1000.0, 2000.0, 3000.0):
        executable.record_threaded(5, 0.5, elapsed_s)
    assert executable.cost_s[5] == 0.5


def test_a_program_that_never_ends_quickly_is_dear_however_little_cpu_time_it_takes() -> None:
    executable = Executable(NamedProgram((), ()))
    for elapsed_s in (10.0, 9.0, 8.0, 12.0, 8.0, 9.0):
        executable.record_threaded(5, 0.001, elapsed_s)
        assert 0.5 < executable.cost_s[5] <= elapsed_s


def test_one_quick_run_is_enough_to_trust_the_cpu_time() -> None:
    executable = Executable(NamedProgram((), ()))
    executable.record_threaded(5, 0.001, 10.0)
    assert executable.cost_s[5] > 0.5
    executable.record_threaded(5, 0.001, 0.001)
    assert executable.cost_s[5] == 0.001


def test_a_size_class_learns_nothing_from_the_others() -> None:
    cost_s = measured(1.0).cost_s
    assert [number for number, cost in enumerate(cost_s) if cost != math.inf] == [5]


def test_a_failed_run_can_raise_the_estimate_but_not_lower_it() -> None:
    executable = measured(2.0, 2.0, 2.0, 2.0)
    executable.record_threaded(5, 0.001, 0.001, failed=True)
    executable.record_inline(5, 0.001, limit_s=100.0, failed=True)
    assert executable.cost_s[5] == 2.0
    executable.record_threaded(5, 10.0, 10.0, failed=True)
    assert executable.cost_s[5] == 3.0


def test_an_input_of_any_size_has_a_size_class() -> None:
    executable = Executable(NamedProgram((), ()))
    executable.record_threaded((2**62).bit_length(), 1.0, 1.0)
    assert executable.cost_s[63] == 1.0


def runs_until_trusted(executable: Executable) -> int:
    count = 0
    while executable.cost_s[5] == math.inf:
        executable.record_threaded(5, 0.001, 0.001)
        count += 1
    return count


def suspected() -> Executable:
    """A program that may have held up the loop once."""
    executable = measured(0.001)
    executable.record_inline(5, 1.0, limit_s=0.1)
    return executable


def test_the_first_surprise_is_only_a_reason_to_measure_exactly() -> None:
    executable = suspected()
    assert executable.cost_s[5] == 0.001
    assert executable.suspicion > 100


def test_suspicion_lasts_longer_each_time_and_is_forgotten_slowly() -> None:
    executable = measured(0.001)
    lasted = []
    for _ in range(3):
        executable.record_inline(5, 1.0, limit_s=0.1)
        lasted.append(executable.suspicion)
        while executable.suspicion:
            executable.record_inline(5, 0.001, limit_s=0.1)
    assert lasted[1:] == [2 * lasted[0], 4 * lasted[0]]
    for _ in range(10 * lasted[-1]):
        executable.record_inline(5, 0.001, limit_s=0.1)
    executable.record_inline(5, 1.0, limit_s=0.1)
    assert executable.suspicion == lasted[0]


def test_a_program_that_held_up_the_loop_is_kept_off_it_longer_each_time() -> None:
    executable = suspected()
    pauses = []
    for _ in range(4):
        executable.record_inline(5, 1.0, limit_s=0.1)
        assert executable.cost_s[5] == math.inf
        pauses.append(runs_until_trusted(executable))
    assert pauses[0] > 10
    assert all(2 * short - 1 <= long for short, long in itertools.pairwise(pauses))


def test_one_bad_moment_is_forgiven_after_many_good_ones() -> None:
    executable = suspected()
    executable.record_inline(5, 1.0, limit_s=0.1)
    first = runs_until_trusted(executable)
    for _ in range(1000):
        executable.record_inline(5, 0.001, limit_s=0.1)
    executable.suspicion = 1
    executable.record_inline(5, 1.0, limit_s=0.1)
    assert runs_until_trusted(executable) == first


def test_surprises_in_one_size_leave_the_others_inline() -> None:
    executable = suspected()
    executable.record_threaded(9, 0.001, 0.001)
    executable.record_inline(9, 1.0, limit_s=0.1)
    assert executable.cost_s[5] == 0.001


class Wrapped:
    """A program around another one."""

    def __init__(self, inner: object, name: str) -> None:
        self.inner = inner
        self.name = name

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        raise NotImplementedError


def test_wrapped_programs_are_told_their_signature_and_come_back() -> None:
    prepared = PreparedServable(NamedServable({"both": SIGNATURE}))
    executable = prepared.signatures["both"].executable
    filtered = prepared.executable(("in_b:0", "in_a:0"), ("out_y:0",))
    plain, plain_filtered = executable.program, filtered.program
    prepared.wrap_programs(Wrapped)
    late = prepared.executable(("in_b:0", "in_a:0"), ("out_z:0",))
    for each, inner, name in ((executable, plain, "both"), (filtered, plain_filtered, "")):
        assert isinstance(each.program, Wrapped)
        assert (each.program.inner, each.program.name) == (inner, name)
    assert isinstance(late.program, Wrapped)
    prepared.unwrap_programs()
    assert (executable.program, filtered.program) == (plain, plain_filtered)
    assert isinstance(late.program, NamedProgram)
    after = prepared.executable(("in_b:0", "in_a:0"), ("out_y:0", "out_z:0"))
    assert isinstance(after.program, NamedProgram)


def test_what_a_wrapped_program_takes_is_forgotten_when_it_is_unwrapped() -> None:
    executable = Executable(NamedProgram((), ()))
    for _ in range(10):
        executable.record_threaded(3, 1e-6, 2e-6)
    expected = list(executable.cost_s)
    plain = executable.program
    executable.suspicion = 100
    executable.wrap(Wrapped(plain, ""))
    for _ in range(10):
        executable.record_threaded(3, 1e-3, 2e-3)
        executable.record_inline(3, 1.0, 1e-3)
    assert executable.cost_s != expected
    executable.unwrap()
    assert executable.cost_s == expected
    assert executable.program is plain
    executable.unwrap()
    executable.record_threaded(3, 1e-6, 2e-6)
    assert executable.cost_s[3] == pytest.approx(expected[3])


def test_a_run_on_the_loop_that_nothing_was_known_of_teaches_nothing() -> None:
    executable = Executable(NamedProgram((), ()))
    executable.record_inline(3, 20e-6, 1e-3)
    assert executable.cost_s[3] == math.inf
    executable.record_threaded(3, 10e-6, 10e-6)
    assert executable.cost_s[3] == 10e-6


def test_what_was_left_to_threads_is_tried_again_if_its_quickest_run_would_do() -> None:
    executable = Executable(NamedProgram((), ()))
    executable.record_threaded(5, 40e-6, 60e-6)
    for _ in range(100):
        # Among threads that wait for each other's interpreter lock.
        executable.record_threaded(5, 400e-6, 900e-6)
    assert executable.cost_s[5] > 200e-6
    for _ in range(255):
        executable.was_dear(5)
    assert executable.cost_s[5] > 200e-6
    executable.was_dear(5)
    assert executable.cost_s[5] == 60e-6
    # It is as dear as it seemed.
    for _ in range(50):
        executable.record_inline(5, 400e-6, 1e-3)
    assert executable.cost_s[5] > 100e-6


def test_what_surprised_the_loop_is_not_tried_before_its_time() -> None:
    executable = Executable(NamedProgram((), ()))
    executable.record_threaded(5, 40e-6, 60e-6)
    executable.record_inline(5, 0.1, 1e-3)
    executable.record_inline(5, 0.1, 1e-3)
    assert executable.cost_s[5] == float("inf")
    for _ in range(512):
        executable.was_dear(5)
    assert executable.cost_s[5] == float("inf")
