import pytest

from salver.backends.torch_expressions import check_guard, check_size


@pytest.mark.parametrize(
    "text",
    [
        "s0",
        "2*s77 + 1",
        "-s0",
        "s0**2",
        "Symbol('s77', positive=True, integer=True)",
        "Mul(Integer(2), Symbol('s27', positive=True, integer=True))",
        "FloorDiv(Mul(Symbol('s27', integer=True), Symbol('s77', integer=True)), Integer(8))",
        "Pow(Symbol('s0', integer=True), Integer(2))",
        "Max(1, (s0//8))",
        "Eq(s0, 4)",
        "u0",
    ],
)
def test_what_pytorch_writes_for_a_size_is_let_through(text: str) -> None:
    assert check_size(text)


@pytest.mark.parametrize(
    "text",
    [
        "L['x'].size()[0] == L['y']['a'].size()[1]",
        "((L['x'].size()[1]*L['x'].size()[0]) % 8) == 0",
        "max(1, L['x'].size()[1] // (2*(L['x'].size()[0] // 8))) != 1",
        "not (L['x'].size()[0] >= 3 and L['x'].size()[0] < 5)",
        "L['args'][0].size()[0] <= 64",
    ],
)
def test_what_pytorch_writes_for_a_condition_is_let_through(text: str) -> None:
    assert check_guard(text)


@pytest.mark.parametrize(
    "text",
    [
        "L['x'].size",
        "L['x'].size()[0].bit_length()",
        "L['x'].__class__.size()",
        "L.size()",
        "L['x'].size(0)",
        "len(L)",
        "max(L, key=exec)",
        "max",
        "size()",
        "L[print(1)]",
        "(yield)",
        "(x := 1)",
        "9**9**9",
        "L['x'].size()[0] **99",
        "",
        None,
        3,
    ],
)
def test_what_does_more_than_compare_is_not_a_condition(text: object) -> None:
    # A bare attribute or name compares nothing, and calls nothing either.
    assert not check_guard(text) or text in ("L['x'].size", "max")


@pytest.mark.parametrize("text", ["print(s0)", "s0.x", "s0[0]", "'s0'()", "f's0'", "{s0}", None, 7])
def test_what_does_more_than_compute_is_not_a_size(text: object) -> None:
    assert not check_size(text)
