import pytest

from salver.errors import FailedPrecondition, InvalidArgument, Unavailable
from salver.traffic.labels import LabelTable

REFUSAL = (
    "Request to assign label to version {} of model m, "
    "which is not currently available for inference"
)


def available(model: str) -> tuple[int, ...]:
    return (2, 1) if model == "m" else ()


def table(**labels: int) -> LabelTable:
    made = LabelTable()
    made.replace({"m": labels})
    return made


def test_before_any_configuration_no_label_can_be_asked_for() -> None:
    with pytest.raises(Unavailable, match=r"^Model labels does not init yet\.canary$"):
        LabelTable().version("m", "canary")


def test_an_unknown_label_is_named() -> None:
    labels = table(stable=1)
    for model, label in [("m", "Stable"), ("m", ""), ("other", "stable")]:
        with pytest.raises(InvalidArgument) as caught:
            labels.version(model, label)
        assert caught.value.message == f"Unrecognized servable version label: {label}"


@pytest.mark.parametrize(
    ("current", "wanted", "allow_unavailable", "refused"),
    [
        pytest.param({}, {"a": 1}, False, None, id="an available version can be labelled"),
        pytest.param({}, {"a": 1, "b": 1}, False, None, id="labels may share a version"),
        pytest.param({"a": 1}, {"a": 2}, False, None, id="a label moves to an available version"),
        pytest.param({"a": 9}, {"a": 2}, True, None, id="a label moves off an unavailable version"),
        pytest.param({}, {"a": 9}, False, 9, id="an unavailable version cannot be labelled"),
        pytest.param({}, {"a": 9}, True, None, id="an unused label may wait for its version"),
        pytest.param({"a": 9}, {"a": 9}, True, None, id="a label may stay on a lost version"),
        pytest.param({"a": 9}, {"a": 9}, False, 9, id="a label may stay only with the option"),
        pytest.param(
            {"a": 1}, {"a": 9}, True, 9, id="a label in use cannot move to a lost version"
        ),
        pytest.param({"b": 1}, {"a": 9}, True, None, id="another label in use does not matter"),
        pytest.param({"a": 1}, {"b": 2, "a": 7}, False, 7, id="one bad label refuses the table"),
    ],
)
def test_the_rule_for_a_new_table(
    current: dict[str, int], wanted: dict[str, int], allow_unavailable: bool, refused: int | None
) -> None:
    labels = table(**current)
    if refused is None:
        labels.check({"m": wanted}, available, allow_unavailable=allow_unavailable)
        return
    with pytest.raises(FailedPrecondition) as caught:
        labels.check({"m": wanted}, available, allow_unavailable=allow_unavailable)
    assert caught.value.message == REFUSAL.format(refused)
    for label, version in current.items():
        assert labels.version("m", label) == version


def test_a_label_is_used_anew_after_it_was_removed() -> None:
    labels = table(a=1)
    labels.replace({"m": {}})
    with pytest.raises(InvalidArgument):
        labels.version("m", "a")
    labels.check({"m": {"a": 9}}, available, allow_unavailable=True)


def test_a_label_belongs_to_its_model() -> None:
    labels = LabelTable()
    labels.replace({"m": {"a": 1}, "n": {"a": 5}})
    assert (labels.version("m", "a"), labels.version("n", "a")) == (1, 5)


def test_a_table_does_not_change_with_what_it_was_made_from() -> None:
    wanted = {"m": {"a": 1}}
    labels = LabelTable()
    labels.replace(wanted)
    wanted["m"]["a"] = 2
    assert labels.version("m", "a") == 1
