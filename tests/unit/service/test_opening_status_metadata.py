from collections.abc import Sequence

import pytest

from salver.core.handle import Handle
from salver.core.servable import ServableId
from salver.core.state import State, VersionStatus
from salver.errors import InvalidArgument, NotFound
from salver.execution.prepared import PreparedServable
from salver.service.metadata import Metadata
from salver.service.opening import Opening
from salver.service.status import Status


class EmptyServable:
    """A model without signatures."""

    signature_def_map = b"serialized signatures"
    signatures: dict[str, object] = {}  # noqa: RUF012 - never written


class FakeRouter:
    """Has one version of one model."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int | None, str | None]] = []
        self.handle = Handle(ServableId("m", 4), PreparedServable(EmptyServable()))  # type: ignore[arg-type]

    def open(self, name: str, version: int | None, label: str | None) -> Handle[PreparedServable]:
        self.asked.append((name, version, label))
        if name != "m":
            raise NotFound(f"Servable not found for request: Latest({name})")
        self.handle.uses += 1
        return self.handle


def test_an_opening_passes_name_version_and_label_on() -> None:
    router = FakeRouter()
    opening = Opening(router)
    assert opening.open("m", None, None) is router.handle
    opening.open("m", 0, None)
    opening.open("m", None, "")
    assert router.asked == [("m", None, None), ("m", 0, None), ("m", None, "")]


def test_a_model_spec_without_a_name_is_refused_before_anything_is_looked_up() -> None:
    router = FakeRouter()
    with pytest.raises(InvalidArgument, match=r"^ModelSpec has no name specified\.$"):
        Opening(router).open("", 1, None)
    assert not router.asked


def test_metadata_is_that_of_the_version_that_would_answer_and_the_handle_is_released() -> None:
    router = FakeRouter()
    answer = Metadata(Opening(router)).of("m", None, "stable")
    assert answer == (ServableId("m", 4), b"serialized signatures")
    assert router.handle.uses == 0


def test_metadata_of_an_unknown_model_is_not_found() -> None:
    with pytest.raises(NotFound, match=r"Latest\(other\)"):
        Metadata(Opening(FakeRouter())).of("other", None, None)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param(
            [], "GetModelMetadataRequest must specify at least one metadata_field", id="none"
        ),
        pytest.param(["x"], "Metadata field x is not supported", id="unknown"),
        pytest.param(["signature_def", ""], "Metadata field  is not supported", id="empty"),
    ],
)
def test_metadata_fields_other_than_signature_def_are_refused(
    fields: list[str], message: str
) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        Metadata.check_fields(fields)
    assert refusal.value.message == message


def test_signature_def_may_be_asked_for_more_than_once() -> None:
    Metadata.check_fields(["signature_def", "signature_def"])


class FakeStatuses:
    def statuses(self, name: str) -> Sequence[VersionStatus]:
        versions = {"m": [VersionStatus(9, State.LOADING), VersionStatus(0, State.AVAILABLE)]}
        return versions.get(name, [])


def test_all_versions_are_told_in_the_order_of_the_source() -> None:
    statuses = Status(FakeStatuses()).of("m", None)
    assert [(status.version, status.state) for status in statuses] == [
        (9, State.LOADING),
        (0, State.AVAILABLE),
    ]


def test_the_version_asked_for_is_told_alone_even_if_it_is_0() -> None:
    assert [status.version for status in Status(FakeStatuses()).of("m", 0)] == [0]


@pytest.mark.parametrize(
    ("name", "version", "message"),
    [
        ("m", 5, "Could not find version 5 of model m"),
        ("other", 5, "Could not find version 5 of model other"),
        ("other", None, "Could not find any versions of model other"),
        ("", None, "Could not find any versions of model "),
    ],
)
def test_what_was_never_there_is_not_found(name: str, version: int | None, message: str) -> None:
    with pytest.raises(NotFound) as refusal:
        Status(FakeStatuses()).of(name, version)
    assert refusal.value.message == message
