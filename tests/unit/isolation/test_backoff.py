from salver.isolation.backoff import Backoff, BackoffOptions

OPTIONS = BackoffOptions(first_s=0.5, longest_s=8.0, well_s=60.0)


def test_each_early_end_doubles_the_pause_up_to_a_limit() -> None:
    backoff = Backoff(OPTIONS)

    pauses = [backoff.pause_s(1.0) for _ in range(7)]

    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


def test_a_worker_that_was_well_comes_back_at_once_and_begins_anew() -> None:
    backoff = Backoff(OPTIONS)
    for _ in range(5):
        backoff.pause_s(0.0)

    assert backoff.pause_s(60.0) == 0.0
    assert backoff.pause_s(1.0) == 0.5


def test_a_worker_that_never_comes_up_is_tried_for_ever() -> None:
    backoff = Backoff(OPTIONS)

    assert {backoff.pause_s(0.0) for _ in range(5000)} == {0.5, 1.0, 2.0, 4.0, 8.0}
