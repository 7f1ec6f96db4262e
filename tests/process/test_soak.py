"""A short form of the soak; `make soak` has the long one."""

from pathlib import Path

import pytest

from tests.process.soak import GOOD_GROWTH, SETTLED, growth, soak


@pytest.mark.slow
def test_twenty_swaps_under_load_leave_the_memory_as_it_was(tmp_path: Path) -> None:
    done, load = soak(tmp_path, 20, 20)
    assert load.failures == {}
    assert set(load.answers) == {1.0, 2.0}
    assert growth(done) < GOOD_GROWTH
    settled, last = done[SETTLED - 1], done[-1]
    assert last.threads <= settled.threads + 2
    # Callers open a connection for each request that is under way at the same time.
    assert last.files <= settled.files + 20
