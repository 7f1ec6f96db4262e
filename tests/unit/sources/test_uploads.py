from salver.sources.uploads import Uploads

URI = "s3://bucket/m/2"


def test_of_what_nothing_is_known_nothing_speaks_against() -> None:
    uploads = Uploads()
    assert not uploads.doubted(URI)
    assert uploads.settled(URI, "a")


def test_what_lacks_something_must_change_and_then_stay() -> None:
    uploads = Uploads()
    uploads.lacking(URI, "a")
    assert uploads.doubted(URI)
    assert [uploads.settled(URI, seen) for seen in "aaabcc"] == [
        False, False, False, False, False, True
    ]  # fmt: skip
    assert not uploads.doubted(URI)


def test_what_changed_while_it_was_copied_must_stay_from_one_look_to_the_next() -> None:
    uploads = Uploads()
    uploads.moving(URI, "b")
    assert [uploads.settled(URI, seen) for seen in "bb"] == [False, True]
    uploads.moving(URI, "b")
    assert [uploads.settled(URI, seen) for seen in "cdd"] == [False, False, True]


def test_what_turned_out_whole_is_forgotten() -> None:
    uploads = Uploads()
    uploads.lacking(URI, "a")
    uploads.forget(URI)
    assert not uploads.doubted(URI)
    assert uploads.settled(URI, "a")
