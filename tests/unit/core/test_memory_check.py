import pytest

from salver.core.memory_check import LoadMemory, MemoryCheckLoader
from salver.core.memory_left import MemoryLeft
from salver.errors import ResourceExhausted

MIB = 1 << 20


class Memory:
    """What is left, as a test says; and a loader that takes it."""

    def __init__(self, left: int | None) -> None:
        self.left = left
        self.loads = 0

    def __call__(self) -> MemoryLeft | None:
        return None if self.left is None else MemoryLeft(self.left, "the machine")

    def load(self) -> str:
        self.loads += 1
        return "loaded"

    def unload(self) -> None:
        self.loads -= 1


def loader(memory: Memory, size: int) -> MemoryCheckLoader[str]:
    return MemoryCheckLoader(memory, lambda: size, LoadMemory(memory), "m")


@pytest.mark.parametrize("left", [None, 5 * MIB, 6 * MIB])
def test_what_fits_or_cannot_be_told_is_loaded(left: int | None) -> None:
    memory = Memory(left)

    assert loader(memory, 5 * MIB).load() == "loaded"


def test_what_is_larger_fails_at_once_with_both_figures_and_the_flag() -> None:
    memory = Memory(5 * MIB - 1)

    with pytest.raises(ResourceExhausted) as raised:
        loader(memory, 5 * MIB).load()

    assert raised.value.message == (
        "m takes about 5 MiB of memory, by the size of its files, but of the machine 5 MiB are "
        "left; --load_memory_check=false loads it anyway"
    )
    assert memory.loads == 0


def test_each_load_looks_anew() -> None:
    memory = Memory(0)
    once = loader(memory, 1)
    with pytest.raises(ResourceExhausted):
        once.load()

    memory.left = 1

    assert once.load() == "loaded"
    once.unload()
    assert memory.loads == 0


def test_loads_under_way_count_until_they_are_over() -> None:
    memory = Memory(10 * MIB)
    loads = LoadMemory(memory)
    with loads.claimed(6 * MIB, "first"):
        with (
            pytest.raises(ResourceExhausted, match="loads under way take 6 MiB"),
            loads.claimed(5 * MIB, "second"),
        ):
            pass
        with loads.claimed(4 * MIB, "third"):
            pass
    with pytest.raises(RuntimeError), loads.claimed(10 * MIB, "fourth"):
        raise RuntimeError
    with loads.claimed(10 * MIB, "fifth"):
        pass


def test_what_a_load_under_way_has_taken_already_does_not_count_twice() -> None:
    memory = Memory(10 * MIB)
    loads = LoadMemory(memory)
    with loads.claimed(4 * MIB, "first"):
        memory.left = 6 * MIB  # All of it is taken, though the load is not over.
        with (
            pytest.raises(ResourceExhausted),
            loads.claimed(7 * MIB, "too large"),
        ):
            pass
        with loads.claimed(6 * MIB, "second"):
            memory.left = 2 * MIB
            with pytest.raises(ResourceExhausted), loads.claimed(MIB, "nothing is left for it"):
                pass


def test_what_a_load_took_stays_taken_and_what_failed_does_not() -> None:
    memory = Memory(10 * MIB)
    loads = LoadMemory(memory)
    with loads.claimed(1 * MIB, "long"):
        with pytest.raises(RuntimeError), loads.claimed(5 * MIB, "fails"):
            raise RuntimeError
        with loads.claimed(5 * MIB, "short"):
            pass
        with pytest.raises(ResourceExhausted), loads.claimed(5 * MIB, "too large by now"):
            pass
        with loads.claimed(4 * MIB, "fits"):
            pass
