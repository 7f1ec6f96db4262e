import pytest

from salver.telemetry.metrics import Counter, Gauge, Histogram, Reading, exponential_limits


def test_a_counter_is_printed_with_its_type_and_its_cells_in_order() -> None:
    counter = Counter(":a:count", ("model_name", "status"))
    counter.increase(("m", "OK"))
    counter.increase(("b", "OK"), 5)
    counter.increase(("m", "OK"), 2)
    assert counter.lines() == [
        "# TYPE :a:count counter",
        ':a:count{model_name="b",status="OK"} 5',
        ':a:count{model_name="m",status="OK"} 3',
    ]
    assert counter.value(("m", "OK")) == 3
    assert counter.value(("m", "NOT_FOUND")) == 0


def test_a_metric_without_labels_keeps_its_braces() -> None:
    counter = Counter(":runs")
    counter.increase(())
    histogram = Histogram(":sizes", (), (1,))
    histogram.cell(()).observe(7)
    assert counter.lines()[1:] == [":runs{} 1"]
    assert histogram.lines()[1:] == [
        ':sizes_bucket{le="1"} 0',
        ':sizes_bucket{le="+Inf"} 1',
        ":sizes_sum{} 7",
        ":sizes_count{} 1",
    ]


def test_a_metric_without_cells_still_has_its_type_line() -> None:
    assert Counter(":c").lines() == ["# TYPE :c counter"]
    assert Histogram(":h", ("l",), (1, 2)).lines() == ["# TYPE :h histogram"]


def test_buckets_are_cumulative_and_a_value_equal_to_a_limit_falls_in_the_next() -> None:
    histogram = Histogram(":h", ("l",), (10, 18, 32.4))
    cell = histogram.cell(("v",))
    for value in (0, 9.999, 10, 17, 18, 32.4, 1000):
        cell.observe(value)
    assert histogram.lines() == [
        "# TYPE :h histogram",
        ':h_bucket{l="v",le="10"} 2',
        ':h_bucket{l="v",le="18"} 4',
        ':h_bucket{l="v",le="32.4"} 5',
        ':h_bucket{l="v",le="+Inf"} 7',
        ':h_sum{l="v"} 1087.4',
        ':h_count{l="v"} 7',
    ]
    assert cell.count == 7


@pytest.mark.parametrize(
    ("total", "text"),
    [
        pytest.param(0.0, "0", id="nothing"),
        pytest.param(188.9568, "188.957", id="six digits"),
        pytest.param(1274821.0, "1.27482e+06", id="exponent"),
        pytest.param(123456.0, "123456", id="the last without exponent"),
    ],
)
def test_sums_have_six_significant_digits(total: float, text: str) -> None:
    histogram = Histogram(":h", (), (1,))
    histogram.cell(()).observe(total)
    assert histogram.lines()[-2] == f":h_sum{{}} {text}"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param('a"b', r"a\"b", id="quote"),
        pytest.param("a\\b", r"a\\b", id="backslash"),
        pytest.param('\\"', r"\\\"", id="both"),
        pytest.param("a\nb", r"a\nb", id="line feed"),
        pytest.param("größe {x}", "größe {x}", id="anything else"),
    ],
)
def test_label_values_are_escaped(value: str, text: str) -> None:
    counter = Counter(":c", ("l",))
    counter.increase((value,))
    histogram = Histogram(":h", ("l",), ())
    histogram.cell((value,)).observe(1)
    assert counter.lines()[1] == f':c{{l="{text}"}} 1'
    assert histogram.lines()[1] == f':h_bucket{{l="{text}",le="+Inf"}} 1'


def test_a_cell_is_made_once() -> None:
    histogram = Histogram(":h", ("l",), (1,))
    assert histogram.cell(("v",)) is histogram.cell(("v",))
    assert histogram.cell(("w",)) is not histogram.cell(("v",))


def test_limits_grow_by_a_factor() -> None:
    assert exponential_limits(1, 2, 4) == (1, 2, 4, 8)
    assert exponential_limits(100, 1.2, 0) == ()


def test_a_gauge_goes_up_and_down_and_away() -> None:
    gauge = Gauge(":a:gauge", ("model",))
    gauge.set(("m",), 3)
    gauge.set(("b",), 1)
    gauge.set(("m",), 2)
    assert gauge.lines() == [
        "# TYPE :a:gauge gauge",
        ':a:gauge{model="b"} 1',
        ':a:gauge{model="m"} 2',
    ]
    gauge.remove(("m",))
    gauge.remove(("never there",))
    assert gauge.lines()[1:] == [':a:gauge{model="b"} 1']


def test_a_reading_is_taken_each_time() -> None:
    numbers = [1, 2]
    reading = Reading(":n", numbers.pop)
    assert [reading.lines()[1] for _ in range(2)] == [":n{} 2", ":n{} 1"]


def test_histograms_add_up_cell_by_cell() -> None:
    total, other = Histogram(":h", ("l",), (10,)), Histogram(":h", ("l",), (10,))
    total.cell(("a",)).observe(1)
    other.cell(("a",)).observe(20)
    other.cell(("b",)).observe(3)
    total.add(other)
    other.cell(("b",)).observe(4)
    assert total.lines()[1:] == [
        ':h_bucket{l="a",le="10"} 1',
        ':h_bucket{l="a",le="+Inf"} 2',
        ':h_sum{l="a"} 21',
        ':h_count{l="a"} 2',
        ':h_bucket{l="b",le="10"} 1',
        ':h_bucket{l="b",le="+Inf"} 1',
        ':h_sum{l="b"} 3',
        ':h_count{l="b"} 1',
    ]
