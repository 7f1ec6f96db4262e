import pytest

from salver.config.command_line import parse, usage
from salver.config.declaration import Declaration
from salver.config.flags import DECLARATIONS, Flags


def test_without_arguments_every_flag_has_its_default() -> None:
    command_line = parse([])
    assert command_line.flags == Flags()
    assert command_line.unknown_arguments == ()
    assert command_line.given == ()
    assert command_line.errors == ()


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        pytest.param("--port=9000", 9000, id="plain"),
        pytest.param("--port=+3", 3, id="with a plus"),
        pytest.param("--port=-1", -1, id="negative"),
        pytest.param("--port= 3", 3, id="after white space, as scanf skips it"),
        pytest.param("--port=007", 7, id="leading zeros are decimal"),
        pytest.param("--port=70000", 70000, id="no check of the range of ports"),
        pytest.param("--port=2147483647", 2**31 - 1, id="largest"),
        pytest.param("--port=-2147483648", -(2**31), id="smallest"),
    ],
)
def test_an_int32_is_a_whole_decimal_number(argument: str, value: int) -> None:
    assert parse([argument]).flags.port == value


@pytest.mark.parametrize(
    "text",
    [
        "abc", "3x", "0x3", "", " ", "3 ", "3.0", "1e3", "1_000", "--3", "\u0663",
        "2147483648", "-2147483649", "9" * 5000,
    ],
)  # fmt: skip
def test_what_is_no_int32_is_an_error(text: str) -> None:
    assert parse([f"--port={text}"]).errors == (f"Couldn't interpret value {text} for flag port.",)


def test_an_int64_may_be_larger() -> None:
    arguments = ["--load_retry_interval_micros=9223372036854775807"]
    assert parse(arguments).flags.load_retry_interval_micros == 2**63 - 1


def test_an_int64_has_an_end_too() -> None:
    assert parse(["--load_retry_interval_micros=9223372036854775808"]).errors


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        pytest.param("--enable_batching", True, id="alone"),
        pytest.param("--enable_batching=true", True, id="true"),
        pytest.param("--enable_batching=TRUE", True, id="in any case"),
        pytest.param("--enable_batching=1", True, id="1"),
        pytest.param("--enable_batching=false", False, id="false"),
        pytest.param("--enable_batching=False", False, id="False"),
        pytest.param("--enable_batching=0", False, id="0"),
    ],
)
def test_a_bool_is_true_or_false(argument: str, value: bool) -> None:
    command_line = parse([argument])
    assert command_line.flags.enable_batching is value
    assert command_line.errors == ()


@pytest.mark.parametrize("text", ["yes", "no", "", "t", "on", "2", "true "])
def test_what_is_no_bool_is_an_error(text: str) -> None:
    assert parse([f"--enable_batching={text}"]).errors == (
        f"Couldn't interpret value {text} for flag enable_batching.",
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.5", 0.5), (".5", 0.5), ("1.", 1.0), ("1", 1.0), ("+1e-1", 0.1), ("-2E2", -200.0),
        ("0x1p-1", 0.5), ("0x.8", 0.5), ("inf", float("inf")), ("-Infinity", float("-inf")),
        (" 0.25", 0.25),
    ],
)  # fmt: skip
def test_a_float_is_what_scanf_reads(text: str, value: float) -> None:
    flags = parse([f"--per_process_gpu_memory_fraction={text}"]).flags
    assert flags.per_process_gpu_memory_fraction == value


@pytest.mark.parametrize("text", ["a", "", "0.5x", "0.5 ", "1_0", "1e", ".", "0x", "½"])
def test_what_is_no_float_is_an_error(text: str) -> None:
    assert parse([f"--per_process_gpu_memory_fraction={text}"]).errors


@pytest.mark.parametrize("text", ["", "m", "a=b", "two words", "ü"])
def test_a_string_is_all_after_the_equals_sign(text: str) -> None:
    assert parse([f"--model_name={text}"]).flags.model_name == text


@pytest.mark.parametrize(
    "argument",
    ["--no_such_flag=1", "--no_such_flag", "-port=1", "stray", "--port", "--model_name", "",
     "---port=1", "--PORT=1", "--port:1", "--version_=1", "--help"],
)  # fmt: skip
def test_what_is_no_flag_is_set_aside(argument: str) -> None:
    command_line = parse([argument, "--model_name=m"])
    assert command_line.unknown_arguments == (argument,)
    assert command_line.flags == Flags(model_name="m")
    assert command_line.errors == ()


def test_a_value_after_a_space_does_not_belong_to_the_flag() -> None:
    command_line = parse(["--port", "1", "--rest_api_port=2"])
    assert command_line.unknown_arguments == ("--port", "1")
    assert command_line.flags.port == 8500
    assert command_line.flags.rest_api_port == 2


def test_two_dashes_end_the_flags() -> None:
    command_line = parse(["--port=1", "--", "--port=2", "x"])
    assert command_line.flags.port == 1
    assert command_line.unknown_arguments == ("--", "--port=2", "x")


def test_the_last_of_several_wins() -> None:
    command_line = parse(["--port=1", "--model_name=a", "--port=2"])
    assert command_line.flags.port == 2
    assert command_line.given == ("port", "model_name")


def test_every_bad_value_is_reported_and_the_rest_is_read() -> None:
    command_line = parse(["--port=x", "--version=maybe", "--rest_api_port=3"])
    assert command_line.errors == (
        "Couldn't interpret value x for flag port.",
        "Couldn't interpret value maybe for flag version.",
    )
    assert command_line.flags.rest_api_port == 3


def test_given_flags_that_change_nothing_are_named() -> None:
    arguments = ["--port=1", "--grpc_max_threads=64", "--skip_initialize_tpu=true", "--host=::1"]
    assert parse(arguments).without_effect == ("grpc_max_threads", "skip_initialize_tpu")


@pytest.mark.parametrize("declaration", DECLARATIONS, ids=lambda declaration: declaration.name)
def test_the_default_in_the_usage_can_be_given_as_it_stands(declaration: Declaration) -> None:
    (line,) = [
        line
        for line in usage("program").splitlines()
        if line.startswith(f"\t--{declaration.name}=")
    ]
    argument, kind, meaning = line[1:].split("\t")
    command_line = parse([argument.rstrip().replace('"', "")])
    assert command_line.flags == Flags()
    assert command_line.given == (declaration.name,)
    assert kind == declaration.kind.value
    assert meaning.startswith(declaration.description)


def test_the_usage_begins_with_the_program_and_has_our_own_flags_under_a_heading() -> None:
    text = usage("tensorflow_model_server")
    assert text.startswith("usage: tensorflow_model_server\nFlags:\n\t--port=8500")
    theirs, ours = text.split("\nFlags of Salver:\n")
    assert "--rest_api_port=0" in theirs
    assert '--host=""' in ours
    assert "--host" not in theirs
