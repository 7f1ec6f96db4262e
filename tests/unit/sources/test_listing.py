import pytest

from salver.errors import InvalidArgument
from salver.sources.listing import RemoteFile, first_parts, is_plain, listing_of


def file(name: str, size: int = 1, tag: str = "t") -> RemoteFile:
    return RemoteFile(name, f"bucket/m/1/{name}", size, tag)


def test_files_are_in_order_and_counted() -> None:
    listing = listing_of([file("b", 2), file("a/c", 3)], "s3://b/m/1")
    assert listing.names == ("a/c", "b")
    assert listing.size == 5


def test_the_fingerprint_changes_with_names_sizes_and_tags_only() -> None:
    one = listing_of([file("a"), file("b")], "u").fingerprint
    assert listing_of([file("b"), file("a")], "u").fingerprint == one
    others = [
        [file("a")],
        [file("a"), file("c")],
        [file("a", 2), file("b")],
        [file("a", tag="u"), file("b")],
        [file("a"), file("b"), file("c")],
    ]
    assert len({listing_of(files, "u").fingerprint for files in others} | {one}) == 6


@pytest.mark.parametrize(
    "name",
    ["../a", "a/../../b", "..", "./a", "a//b", "/etc/passwd", "a/", "a\0b", "x" * 256, "a/."],
)
def test_a_name_that_has_no_place_in_a_version_is_refused(name: str) -> None:
    assert not is_plain(name)
    with pytest.raises(InvalidArgument, match="cannot be a file of a version"):
        listing_of([file("saved_model.pb"), file(name)], "s3://b/m/1")


@pytest.mark.parametrize("name", ["a", "a/b.c", "...", "a..b", " ", "ä/b", "x" * 255, "a\\b"])
def test_any_other_name_is_taken(name: str) -> None:
    assert is_plain(name)


def test_of_descendants_only_the_first_part_counts_and_once() -> None:
    names = ["1/saved_model.pb", "1/variables/x", "2", "note.txt", "", "10/"]
    assert first_parts(names) == ["1", "2", "note.txt", "10"]
