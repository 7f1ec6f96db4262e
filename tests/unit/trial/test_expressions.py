"""Expressions: what NumPy gives where they are allowed, one line where they are not."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver.errors import InvalidArgument
from salver.trial.expressions import evaluated


@pytest.mark.parametrize(
    "text",
    [
        "1", "-2.5", "True", "[1, 2, 3]", "[[1.5], [2]]", "(1, 2)", "1e300", "2**10", "7 // 2 % 3",
        "1 + 2j", "[[], []]", "-(1 - 3) * +4 / 5", "[1] + [2, 3] * 2", "5 > 3", "nan", "~5",
        "np.ones((2, 3))", "numpy.zeros(4, dtype=np.int32)", "np.full((2, 2), 7)", "1 << 5 | 3",
        "np.full([2], 0.5, dtype='float16')", "np.arange(10)", "np.arange(1, 2, 0.25)", "np.pi",
        "np.arange(3, dtype=np.float32) * 2", "np.linspace(0, 1, 5)", "np.logspace(0, 2, 3)",
        "np.linspace(0, 1, num=4, endpoint=False)", "np.eye(3, 4, 1)", "np.identity(2)",
        "np.arange(6).reshape(2, 3)", "np.reshape(np.arange(6), (3, -1)).T", "np.float32(3) / 7",
        "np.arange(6).reshape((1, 2, 3))[0, ::-1, 1:]", "np.arange(5)[[0, 2]]", "[1, 2, 3][-1]",
        "np.arange(5)[np.arange(5) > 2]", "np.ones(3)[None, :, np.newaxis]", "np.ones((2, 3))[...]",
        "np.array([[1, 2], [3, 4]], dtype='int8') @ [1, 2]", "np.dot([1, 2], [3, 4])",
        "np.outer([1, 2], [3, 4])", "np.sin([0.0, 1.0]) + np.exp(-1)", "np.log(-1.0)",
        "np.maximum([1, 5], 3)", "np.clip([1, 5, 9], 2, 6)", "np.where([True, False], 1.0, 2)",
        "np.concatenate([[1, 2], [3]])", "np.stack([[1, 2], [3, 4]], axis=1)", "1 / np.zeros(2)",
        "np.vstack(([1], [2]))", "np.tile([1, 2], (2, 2))", "np.repeat([1, 2], 3)",
        "np.broadcast_to([1, 2], (3, 2))", "np.expand_dims([1, 2], 0)", "np.squeeze([[1]])",
        "np.flip([1, 2, 3])", "np.roll([1, 2, 3], 1)", "np.swapaxes(np.ones((2, 3)), 0, 1)",
        "np.array([1.5, 2.5]).astype(np.int32)", "np.array([3, 1, 2]).argsort()",
        "np.arange(6).reshape(2, 3).sum(axis=0)", "np.mean([[1, 2], [3, 4]], keepdims=True)",
        "np.arange(12.).reshape(3, 4).mean(axis=(0, 1))", "np.arange(4).max()", "np.std([1, 2])",
        "np.cumsum([1, 2, 3])", "np.sort([3, 1, 2])", "np.ones_like([1, 2])", "np.round([1.26], 1)",
        "np.zeros_like([1.5], dtype=np.uint8)", "np.full_like([1.5], 7)", "np.isnan([np.nan, 1])",
        "np.ones((2, 3)).shape", "np.ones((2, 3)).ndim", "np.random.RandomState(3).rand(2, 3)",
        "np.random.default_rng(0).normal(size=(2, 3))", "np.random.RandomState(5).randint(0, 9, 4)",
        "np.random.default_rng(1).integers(0, 10, size=5)", "np.bool_(1)", "float(3)", "int(2.7)",
        "np.random.default_rng(4).choice([1, 2, 3], 2)", "np.random.RandomState(7).permutation(5)",
        "np.random.default_rng(2).uniform(-1, 1, (3,))", "np.random.RandomState(8).randn(2)",
    ],
)  # fmt: skip
def test_the_value_is_numpy_s_own(text: str) -> None:
    names = {"np": np, "numpy": np, "nan": np.nan}
    with np.errstate(all="ignore"):
        expected = np.asarray(eval(text, names))  # the test's own text

    found = evaluated(text)

    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("np.random.rand(2, 3)", (2, 3)),
        ("np.random.randn(4)", (4,)),
        ("np.random.randint(5, size=(2, 2))", (2, 2)),
        ("np.random.normal(0, 1, (3,))", (3,)),
        ("np.random.uniform(size=[1, 2])", (1, 2)),
        ("np.random.random((2,))", (2,)),
        ("np.empty((2, 0))", (2, 0)),
    ],
)
def test_random_numbers_without_a_seed(text: str, shape: tuple[int, ...]) -> None:
    assert evaluated(text).shape == shape


def test_strings_become_objects_of_bytes() -> None:
    found = evaluated("[['a', 'zw\u00f6lf'], [b'\\xff', 'x' * 2 + 'y']]")
    assert found.dtype == object
    assert found.tolist() == [[b"a", "zw\u00f6lf".encode()], [b"\xff", b"xxy"]]
    assert evaluated("np.full((2,), 'x')").tolist() == [b"x", b"x"]
    assert evaluated("np.array(['a', 'b']).reshape(2, 1)").tolist() == [[b"a"], [b"b"]]


def test_signs_and_brackets_within_strings_nest_nothing() -> None:
    assert evaluated(repr(["+/=" * 999, "[(" * 999, "'\\\"" * 99])).tolist() == [
        b"+/=" * 999, b"[(" * 999, b"'\\\"" * 99,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("np.one((2, 3))", "np.one cannot be used in an expression; did you mean 'ones'?"),
        ("ones(3)", "'ones' cannot be called in an expression; did you mean np.ones?"),
        ("np.random.nomal(3)", "did you mean 'normal'?"),
        ("np.ones(3).reshap(1)", "did you mean 'reshape'?"),
        ("np.ones(3, dtype=np.flot32)", "np.flot32 cannot be used"),
        ("np.ones(3, 'flaot32')", "there is no dtype 'flaot32'; did you mean 'float32'?"),
        ("np.ones((2, 3)) + np.ones((2, 4))", "shape mismatch"),
        ("np.ones(3)[5]", "index 5 is out of bounds"),
        ("np.ones(2.5)", "2.5 is not a size: that is a whole number"),
        ("np.ones(-1)", "a size of -1 is below zero"),
        ("np.zeros(3, order='F')", "zeros takes (shape, dtype) here"),
        ("[1, [2]]", "not all of one length"),
        ("[1, 'a']", "both numbers and strings"),
        ("1 / 0", "division by zero"),
        ("10.0 ** 400", "Numerical result out of range"),
        ("(1,", "it is not a Python expression"),
        ("x = 1", "it is not a Python expression"),
        ("", "it is not a Python expression"),
        ("np", "`np` alone is no value"),
        ("foo", "there is no 'foo'; functions are written np.NAME"),
        ("None", "None is neither a number nor a string"),
        ("np.arange(0, 1, 0)", "the step of np.arange is zero"),
    ],
)
def test_what_is_wrong_is_told(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        evaluated(text)
    assert message in raised.value.message
    assert "\n" not in raised.value.message


HUGE = [
    "np.ones((10**6, 10**6))", "np.zeros(10**12)", "np.arange(10**12)", "np.linspace(0, 1, 10**12)",
    "np.eye(10**6)", "np.full((10**5, 10**5), 1)", "np.tile([1], 10**12)", "np.identity(10**6)",
    "np.repeat([1, 2], 10**12)", "np.broadcast_to(1, (10**6, 10**6))",
    "np.random.rand(10**6, 10**6)",
    "np.random.permutation(10**12)", "np.random.choice(10**12, 1, False)", "np.arange(0, 1, 1e-15)",
    "np.random.normal(size=10**12)", "np.random.default_rng(0).random(10**12)",
    "np.ones((10**5, 1)) + np.ones((1, 10**5))", "np.ones((10**5, 1)) < np.ones((1, 10**5))",
    "np.outer(np.ones(10**6), np.ones(10**6))", "np.ones((10**4, 10**4)) @ np.ones((10**4, 10**4))",
    "np.ones((2**12, 2**12)) @ np.ones((2**12, 2**12))",
    "np.ones((10**6, 1)) @ np.ones((1, 10**6))",
    "np.where(np.ones((10**5, 1)), np.ones((1, 10**5)), 0)", "np.ones(10**6)[[0] * 10**9]",
    "np.ones((1, 10**6))[[0] * 10**6]", "np.concatenate([np.ones(2**25 - 9), np.ones(2**24)])",
    "np.ones(2**24) + (np.ones(2**24) + (np.ones(2**24) + np.ones(2**24)))",
    "10**10**10", "2**64", "-2**63 - 1", "9**99999999", "1 << 10**9", "2**62 * 2**62",
    "18446744073709551616", "'a' * 10**9", "[0] * 10**9", "[[0] * 1000] * 1000000",
    "b'ab' * 10**12", "[[[[0] * 99] * 99] * 99] * 99", "np.zeros(3, 'S1000000000')",
    "np.array(['a']).astype('U1000000000')",
    "np.array(['a' * 1000000] + ['b'] * 1000000).repeat(999)",
    "np.random.randint(0, 9, (10**6, 10**6))", "np.uniform(0, 1, 10**12)",
    "np.logspace(0, 1, 10**12)", "np.ones_like(np.broadcast_to(1, (10**6, 10**6)))",
    "np.stack([np.ones(2**20)] * 100)", "np.expand_dims(np.ones(10**12), 0)",
]  # fmt: skip
CODE = [
    "__import__('os').system('true')", "().__class__.__bases__", "np.__dict__", "np.load('x')",
    "np.ones(2).__class__", "np.ones(2).tofile('x')", "np.ones(2).dump('x')", "np.lib", "np.os",
    "np.random.__class__", "np.random.seed.__self__", "np.random.bytes(10)", "[].append(1)",
    "[x for x in (1, 2)]", "{x for x in (1,)}", "{1: 2 for _ in (1,)}", "(x for x in (1,))",
    "(lambda: 1)()", "1 if 1 else 2", "1 and 2", "not 1", "f'{1}'", "'%d' % 1", "'{}'.format(1)",
    "(y := 1)", "{'a': 1}", "{1, 2}", "[*[1]]", "np.ones(*[2])", "np.ones(**{'shape': 2})",
    "open('x')", "exec('1')", "eval('1')", "getattr(np, 'load')", "globals()", "print(1)",
    "np.ones(2).ctypes", "np.ones(2).base", "np.ones(2).data", "np.float32.__mro__", "np.ones",
    "np.ones(2).astype(object).item", "np.frompyfunc(1, 2, 3)", "np.vectorize(1)", "np.f2py",
    "np.fromfile('x')", "np.genfromtxt('x')", "np.memmap('x')", "np.save('x', 1)", "np.testing",
    "np.array([1]).view(np.int8)", "np.ones(2, like=3)", "np.add(1, 2, out=3)", "np.ones(2)()",
    "np.random.default_rng(0).bit_generator", "np.random.RandomState(0).get_state()", "1 < 2 < 3",
    "np.random.default_rng(0)", "np.array([np.random.default_rng(0)])", "np.array([np.float32])",
    "np.ones(np.ones)", "'a' < 'b'", "np.array(['a']) + np.array(['b'])", "await 1", "yield",
    "1 in [1]", "1 is 1", "np.array([['a'], 1])", "...", "np.ones(3)[...:2]", "''.join(['a'])",
    "np.ones(3)['a']", "np.array(object)", "np.full(2, None)", "np.add.reduce([1])", "np.char",
]  # fmt: skip
NESTED = [
    "(" * 5000 + "1" + ")" * 5000, "[" * 200 + "]" * 200, "-" * 50000 + "1", "1" + "+1" * 50000,
    "[1,1]" + "+[1,1]" * 50000, "not " * 50000 + "1", "lambda:" * 50000 + "1", "a" + ".b" * 50000,
    "f(1,1)" + ".c(1,1)" * 30000, "[1,1]" + "[0,0]" * 30000, "[1," * 50000, "~" * 2000 + "1",
    "1 if 1 else " * 20000 + "1", "9" * 5000, "1" * (1 << 20) + "1", "x" + "[0" * 99 + "]" * 99,
]  # fmt: skip


@pytest.mark.parametrize("text", HUGE)
def test_what_would_be_huge_is_refused_before_it_is_made(text: str) -> None:
    before = _peak_kilobytes()
    with pytest.raises(InvalidArgument) as raised:
        evaluated(text)
    # What the largest of them hold, in arrays of the allowed size, where they are refused.
    assert _peak_kilobytes() - before < 800_000
    assert len(raised.value.message) < 400


@pytest.mark.parametrize(
    "text",
    [
        "np.zeros((2**16, 0)) @ np.zeros((0, 2**16))",
        "np.zeros((2**13, 0)) @ np.zeros((0, 2**14))",
        "np.sum(np.zeros((2**27, 0)), axis=1)",
        "np.zeros(0).reshape(2**27, 0).sum(axis=1)",
        "np.repeat(np.zeros((1, 0)), 2**27, axis=0)",
        "np.broadcast_to(np.zeros((1, 0)), (2**27, 0))",
    ],
)
def test_arrays_without_elements_do_not_grow_to_such_with_many(text: str) -> None:
    with pytest.raises(InvalidArgument, match="of more than"):
        evaluated(text)


def test_one_string_in_many_places_counts_as_many() -> None:
    with pytest.raises(InvalidArgument, match="of more than"):
        evaluated("np.full(2**10, 'a' * 2**20)")
    assert evaluated("np.full(2**10, 'a' * 2**10)").shape == (1024,)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("np.cumsum(np.ones((2, 2)), axis=10)", "axis 10 is out of bounds"),
        ("np.transpose(np.ones((2, 3)), (5, 6))", "axis 5 is out of bounds"),
        ("10.0 ** 1000", "out of range"),
    ],
)
def test_what_numpy_says_is_told(text: str, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        evaluated(text)


@pytest.mark.parametrize("text", [*CODE, *NESTED], ids=lambda text: text[:40])
def test_nothing_but_numbers_can_be_reached(text: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        evaluated(text)
    assert len(raised.value.message) < 600


_WORDS = st.sampled_from(
    ["np", ".", "ones", "zeros", "arange", "random", "(", ")", "[", "]", ",", "1", "2", "0.5", "-",
     "+", "*", "**", "@", "/", "%", "<<", ":", "'a'", "__class__", "dtype", "=", "float32", "None",
     "reshape", "array", "tile", "repeat", "if", "else", "for", "in", "lambda", "x", " ", "nan",
     "{", "}", "T", "shape", "eye", "where", "10**9", "sum", "axis", "9" * 20, "...", "[0]*9"]
)  # fmt: skip


@given(st.lists(_WORDS, max_size=14).map("".join))
def test_any_text_is_an_array_or_one_line(text: str) -> None:
    try:
        found = evaluated(text)
    except InvalidArgument as error:
        assert "\n" not in error.message  # noqa: PT017 - both are fine
    else:
        assert isinstance(found, np.ndarray)


def _peak_kilobytes() -> int:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1024 if sys.platform == "darwin" else peak
