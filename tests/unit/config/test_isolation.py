import os
from dataclasses import replace

import pytest

from salver.config.flags import Flags
from salver.config.isolation import isolation_settings
from salver.config.settings import read_settings
from salver.core.backend import Apart
from salver.errors import InvalidArgument

CPUS = len(os.sched_getaffinity(0))
FLAGS = Flags(model_base_path="/models/m", isolated_workers=3)


@pytest.mark.parametrize(
    ("text", "free", "holding", "named"),
    [
        pytest.param("auto", 0, 3, 0, id="auto"),
        pytest.param("", 0, 3, 0, id="nothing"),
        pytest.param("all", 3, 3, 3, id="all"),
        pytest.param("none", 0, 0, 0, id="none"),
        pytest.param("named", 0, 3, 3, id="one more"),
        pytest.param("none,named", 0, 0, 3, id="only one"),
        pytest.param("all,-named", 3, 3, 0, id="all but one"),
        pytest.param(" none , named:7 ,other", 0, 0, 7, id="one with its own workers"),
    ],
)
def test_models_are_isolated_as_the_flag_says(
    text: str, free: int, holding: int, named: int
) -> None:
    settings = isolation_settings(replace(FLAGS, isolate_models=text))

    assert settings.workers_of("m", Apart.NEEDLESS) == free
    assert settings.workers_of("m", Apart.HOLDS_LOCK) == holding
    assert settings.workers_of("named", Apart.NEEDLESS) == named


def test_a_model_may_be_kept_in_the_server_although_it_holds_the_lock() -> None:
    settings = isolation_settings(replace(FLAGS, isolate_models="-named"))

    assert settings.workers_of("named", Apart.HOLDS_LOCK) == 0
    assert settings.workers_of("m", Apart.HOLDS_LOCK) == 3


def test_there_is_a_worker_for_each_cpu_but_not_too_many() -> None:
    settings = isolation_settings(Flags(model_base_path="/models/m"))

    assert settings.workers_of("m", Apart.HOLDS_LOCK) == min(CPUS, 4)


def test_there_is_one_worker_on_a_gpu_unless_there_are_to_be_more() -> None:
    free = isolation_settings(Flags(model_base_path="/models/m", isolate_models="auto,named:2"))

    assert free.workers_of("m", Apart.MAY_LOSE_PROCESS) == 1
    assert free.workers_of("named", Apart.MAY_LOSE_PROCESS) == 2
    assert isolation_settings(FLAGS).workers_of("m", Apart.MAY_LOSE_PROCESS) == 3


def test_no_limit_is_no_limit() -> None:
    assert isolation_settings(FLAGS).run_limit_s == 60.0
    assert isolation_settings(replace(FLAGS, isolated_run_limit_s=0.0)).run_limit_s is None


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"isolate_models": "all,none"}, "all and none exclude each other"),
        ({"isolate_models": "a,b,a:2"}, "names a more than once"),
        ({"isolate_models": "-"}, "- names no model"),
        ({"isolate_models": ":2"}, ":2 names no model"),
        ({"isolate_models": "a:"}, "the workers of a must be between 1 and 1024; got nothing"),
        ({"isolate_models": "a:0"}, "got 0"),
        ({"isolate_models": "a:many"}, "got many"),
        ({"isolate_models": "a:1025"}, "got 1025"),
        ({"isolated_workers": -1}, "--isolated_workers must be between 0 and 1024; got -1"),
        ({"isolated_run_limit_s": -1.0}, "--isolated_run_limit_s must not be negative"),
    ],
)
def test_flags_that_make_no_sense_are_refused(flags: dict[str, object], told: str) -> None:
    with pytest.raises(InvalidArgument, match=told):
        read_settings(replace(FLAGS, **flags))  # type: ignore[arg-type]
