"""Our declarations against the installed packages, and messages in text format."""

import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool

from salver.codecs.messages import descriptor_pool, message_class, parse_text, print_text
from salver.errors import InvalidArgument

CONFIG = "tensorflow.serving.ModelServerConfig"
# Not part of the installed packages: what the original server alone has, and what is our own.
NOT_INSTALLED = {
    "salver/models.proto",
    "salver/serialized.proto",
    "grpc/health/v1/health.proto",
    "grpc/reflection/v1/reflection.proto",
    "grpc/reflection/v1alpha/reflection.proto",
    "tensorflow/core/grappler/optimizers/inference/batch_op_rewriter.proto",
    "tensorflow/core/tfrt/graph_executor/config.proto",
    "tsl/profiler/protobuf/profiler_service.proto",
    "tsl/profiler/protobuf/profiler_service_monitor_result.proto",
    "tensorflow_serving/config/monitoring_config.proto",
    "tensorflow_serving/config/ssl_config.proto",
    "tensorflow_serving/servables/tensorflow/remote_op_config_rewriter.proto",
    "tensorflow_serving/servables/tensorflow/saved_model_bundle_source_adapter.proto",
    "tensorflow_serving/servables/tensorflow/saved_model_config.proto",
    "tensorflow_serving/servables/tensorflow/session_bundle_config.proto",
    "tensorflow_serving/servables/tensorflow/thread_pool_factory_config.proto",
}
# Empty files that only pass on the declarations of another one.
FORWARDERS = {
    "tensorflow/core/protobuf/error_codes.proto",
    "tensorflow/core/protobuf/rpc_options.proto",
}
PROTOS = Path(__file__).resolve().parents[3] / "src" / "salver" / "codecs" / "protos"


@pytest.fixture(scope="module")
def installed() -> dict[str, Any]:
    """The files of the installed packages by name, in a pool of their own."""
    program = Path(__file__).with_name("installed_descriptors.py")
    output = subprocess.run([sys.executable, str(program)], stdout=subprocess.PIPE, check=True)
    pool = DescriptorPool()
    files = descriptor_pb2.FileDescriptorSet.FromString(output.stdout)
    for file in reversed(files.file):
        add_with_imports(pool, file, {each.name: each for each in files.file})
    return {file.name: pool.FindFileByName(file.name) for file in files.file}


def add_with_imports(pool: DescriptorPool, file: Any, files: dict[str, Any]) -> None:
    try:
        pool.FindFileByName(file.name)
    except KeyError:
        for name in file.dependency:
            add_with_imports(pool, files[name], files)
        pool.AddSerializedFile(file.SerializeToString())


@cache
def our_files() -> dict[str, Any]:
    names = (str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    return {name: descriptor_pool().FindFileByName(name) for name in names}


def declarations(file: Any) -> dict[str, Any]:
    """All that a file declares, down to each field and value, by full name."""
    found: dict[str, Any] = {}
    for message in file.message_types_by_name.values():
        add_message(found, message)
    for enum in file.enum_types_by_name.values():
        add_enum(found, enum)
    for service in file.services_by_name.values():
        for method in service.methods:
            streams = (method.client_streaming, method.server_streaming)
            ends = (method.input_type.full_name, method.output_type.full_name)
            found[method.full_name] = (ends, streams)
    return found


def add_message(found: dict[str, Any], message: Any) -> None:
    found[message.full_name] = ("message", message.GetOptions().map_entry)
    for field in message.fields:
        target = field.message_type or field.enum_type
        oneof = field.containing_oneof
        found[field.full_name] = {
            "number": field.number,
            "type": field.type,
            "repeated": field.is_repeated,
            "target": target.full_name if target else None,
            "oneof": oneof.name if oneof else None,
            "presence": field.has_presence,
            "packed": field.is_packed,
            "json": field.json_name,
            "default": field.default_value if not field.message_type else None,
            "deprecated": field.GetOptions().deprecated,
        }
    for nested in message.nested_types:
        add_message(found, nested)
    for enum in message.enum_types:
        add_enum(found, enum)


def add_enum(found: dict[str, Any], enum: Any) -> None:
    found[enum.full_name] = ("enum", enum.is_closed)
    for value in enum.values:
        found[f"{enum.full_name}:{value.name}"] = value.number


@pytest.mark.parametrize("name", sorted(set(our_files()) - NOT_INSTALLED))
def test_a_file_declares_exactly_what_the_installed_one_does(
    installed: dict[str, Any], name: str
) -> None:
    assert declarations(our_files()[name]) == declarations(installed[name])
    assert our_files()[name].package == installed[name].package


def test_every_file_of_the_installed_packages_has_one_of_ours(installed: dict[str, Any]) -> None:
    theirs = {name for name in installed if not name.startswith("google/")}
    assert theirs - FORWARDERS == set(our_files()) - NOT_INSTALLED
    for name in FORWARDERS:
        assert declarations(installed[name]) == {}


@pytest.mark.parametrize("name", sorted(our_files()))
def test_every_file_says_what_it_is(name: str) -> None:
    assert (PROTOS / name).read_text().startswith("// ")


def test_a_class_is_made_once() -> None:
    assert message_class(CONFIG) is message_class(CONFIG)
    assert message_class(CONFIG)().model_config_list.config.add(name="a").name == "a"


def test_a_message_that_is_not_declared_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        message_class("tensorflow.serving.NoSuchMessage")


@pytest.mark.slow
@pytest.mark.parametrize("ours_first", [True, False])
def test_tensorflows_own_messages_live_beside_ours(ours_first: bool) -> None:
    ours = (
        "from salver.codecs.messages import message_class\n"
        "ours = message_class('tensorflow.serving.PredictRequest')\n"
    )
    theirs = "from tensorflow_serving.apis.predict_pb2 import PredictRequest as theirs\n"
    check = (
        "message = theirs(output_filter=['a'])\n"
        "message.inputs['x'].dtype = 1\n"
        "again = ours.FromString(message.SerializeToString())\n"
        "assert ours is not theirs\n"
        "assert again.inputs['x'].dtype == 1\n"
        "assert theirs.FromString(again.SerializeToString()) == message\n"
    )
    program = (ours + theirs if ours_first else theirs + ours) + check
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True)


def test_nothing_of_ours_enters_the_default_pool() -> None:
    program = (
        "from google.protobuf import descriptor_pool\n"
        "from salver.codecs.messages import message_class, parse_text\n"
        f"parse_text('{CONFIG}', 'custom_model_config {{}}')\n"
        "for name in ('tensorflow.TensorProto', 'google.protobuf.Any'):\n"
        "    try:\n"
        "        descriptor_pool.Default().FindMessageTypeByName(name)\n"
        "    except KeyError:\n"
        "        continue\n"
        "    raise SystemExit(name)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("model_config_list { config { name: 'ab' base_path: '/m' } }", id="braces"),
        pytest.param("model_config_list < config < name: 'ab' base_path: '/m' > >", id="angles"),
        pytest.param("model_config_list: { config: { name: 'ab', base_path: '/m'; } }", id="marks"),
        pytest.param("model_config_list { config [{ name: 'ab' base_path: '/m' }] }", id="list"),
        pytest.param('model_config_list { config { name: "a" \'b\' base_path: "/m" } }', id="join"),
        pytest.param(
            "# first\nmodel_config_list {  # then\n config {name:'ab'base_path:'\\x2fm'}\n}\n#",
            id="comments and escapes",
        ),
    ],
)
def test_text_may_be_written_in_many_ways(text: str) -> None:
    config = parse_text(CONFIG, text).model_config_list.config
    assert [(each.name, each.base_path) for each in config] == [("ab", "/m")]


def test_an_any_is_written_out_by_its_type() -> None:
    adapter = "tensorflow.serving.SavedModelBundleSourceAdapterConfig"
    text = (
        'platform_configs { key: "tensorflow" value { source_adapter_config {\n'
        f"  [type.googleapis.com/{adapter}] {{\n"
        '    legacy_config { saved_model_tags: "serve" } } } } }'
    )
    message = parse_text("tensorflow.serving.PlatformConfigMap", text)
    inside = message_class(adapter)()
    assert message.platform_configs["tensorflow"].source_adapter_config.Unpack(inside)
    assert inside.legacy_config.saved_model_tags == ["serve"]
    assert f"[type.googleapis.com/{adapter}]" in print_text(message)
    assert parse_text("tensorflow.serving.PlatformConfigMap", print_text(message)) == message


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("garbage {", f'1:9: Message type "{CONFIG}" has no field named "garbage".'),
        ("\n  garbage: 1", f'2:10: Message type "{CONFIG}" has no field named "garbage".'),
        ("garbage", f'1:8: Message type "{CONFIG}" has no field named "garbage".'),
        ("\tgarbage {", f'1:17: Message type "{CONFIG}" has no field named "garbage".'),
        ("# é\n garbage {", f'2:10: Message type "{CONFIG}" has no field named "garbage".'),
        ("model_config_list {\n  config {\n", "3:1: Expected identifier, got: "),
        ("}", "1:1: Expected identifier, got: }"),
        ("model_config_list = 3", '1:19: Expected "{", found "=".'),
        ("model_config_list { config { name 'a' } }", '1:35: Expected ":", found "\'a\'".'),
        ("model_config_list { config { name: 5 } }", "1:36: Expected string, got: 5"),
        (
            "model_config_list { config { name: 'é' name: 'b' } }",
            '1:45: Non-repeated field "name" is specified multiple times.',
        ),
        (
            "model_config_list {} model_config_list {}",
            '1:40: Non-repeated field "model_config_list" is specified multiple times.',
        ),
        (
            "model_config_list {} custom_model_config {}",
            '1:42: Field "custom_model_config" is specified along with field "model_config_list", '
            'another member of oneof "config".',
        ),
        (
            "model_config_list { config { model_type: TORCH } }",
            '1:48: Unknown enumeration value of "TORCH" for field "model_type".',
        ),
        (
            "model_config_list { config { version_labels { value: x } } }",
            "1:54: Expected integer, got: x",
        ),
        (
            "model_config_list { config { version_labels { value: 9223372036854775808 } } }",
            "1:54: Integer out of range (9223372036854775808)",
        ),
        (
            "model_config_list { config { name: 'a\n' } }",
            '1:38: Multiline strings are not allowed. Did you miss a "?.',
        ),
        (
            "custom_model_config { [type.googleapis.com/no.Such] { } }",
            '1:53: Could not find type "type.googleapis.com/no.Such" stored in '
            "google.protobuf.Any.",
        ),
    ],
)
def test_mistakes_are_worded_and_placed_as_in_cpp(text: str, error: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        parse_text(CONFIG, text)
    assert str(raised.value) == f"Error parsing text-format {CONFIG}: {error}"


@pytest.mark.parametrize(
    ("full_name", "text", "error"),
    [
        (
            "tensorflow.serving.SSLConfig",
            "client_verify: maybe",
            '1:21: Invalid value for boolean field "client_verify". Value: "maybe".',
        ),
        (
            "tensorflow.serving.SamplingConfig",
            "sampling_rate: half",
            "1:16: Expected double, got: half",
        ),
        (
            "tensorflow.serving.BatchingParameters",
            "max_batch_size: 4",
            '1:17: Expected "{", found "4".',
        ),
    ],
)
def test_mistakes_in_other_files_are_worded_alike(full_name: str, text: str, error: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        parse_text(full_name, text)
    assert str(raised.value) == f"Error parsing text-format {full_name}: {error}"


def test_a_name_that_is_no_text_is_a_mistake_like_any_other() -> None:
    text = b"model_config_list { config { model_type: \xff } }".decode(errors="surrogateescape")
    with pytest.raises(InvalidArgument, match="1:44: Unknown enumeration value of"):
        parse_text(CONFIG, text)


def test_a_text_of_any_depth_is_read_or_refused() -> None:
    opening = "[type.googleapis.com/google.protobuf.Any] { "
    for depth in (100, 10_000):
        text = f"custom_model_config {{ {opening * depth} {'}' * depth} }}"
        if depth == 100:
            assert parse_text(CONFIG, text).custom_model_config.value
        else:
            with pytest.raises(InvalidArgument, match="Message is too deep"):
                parse_text(CONFIG, text)
