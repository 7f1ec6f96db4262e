import struct
from pathlib import Path

import pytest

from salver.codecs.messages import message_class, parse_text
from salver.config.flags import Flags
from salver.config.model_config import (
    ConfigKind,
    ModelServerConfig,
    ModelSettings,
    from_message,
    model_server_config,
    platform_of,
    validate,
    validate_platforms,
)
from salver.core.version_policy import All, Latest, Specific, VersionPolicy
from salver.errors import ServingError

NO_CONFIG = ModelServerConfig()
CUSTOM_CONFIG = ModelServerConfig(ConfigKind.CUSTOM_MODEL_CONFIG)


def model(
    name: str = "m", base_path: str = "/m", platform: str = "tensorflow", model_type: int = 0
) -> ModelSettings:
    return ModelSettings(
        name=name, base_path=base_path, model_platform=platform, model_type=model_type
    )


def config_of(*models: ModelSettings) -> ModelServerConfig:
    return ModelServerConfig(ConfigKind.MODEL_CONFIG_LIST, models)


def config_from(text: str) -> ModelServerConfig:
    return from_message(parse_text("tensorflow.serving.ModelServerConfig", text))


def status_of(new: ModelServerConfig, running: ModelServerConfig | None = None) -> str:
    """What a config that has no labels ends in."""
    try:
        validate(new, running)
        validate_platforms(new)
    except ServingError as error:
        return error.status
    return "OK"


def test_without_a_file_the_flags_name_the_only_model() -> None:
    flags = Flags(model_name="solo", model_base_path="/models/solo")
    assert model_server_config(flags) == config_of(model("solo", "/models/solo", platform="auto"))


def test_a_config_file_beats_the_flags_of_the_only_model(tmp_path: Path) -> None:
    path = tmp_path / "models.config"
    path.write_text('model_config_list { config { name: "a" base_path: "/a" } }')
    flags = Flags(model_config_file=str(path), model_name="solo", model_base_path="/solo")
    assert [model.name for model in model_server_config(flags).models] == ["a"]


def test_all_that_is_said_of_a_model_is_read() -> None:
    config = config_from("""
        model_config_list {
          config {
            name: "m"  base_path: "/srv/m"  model_platform: "tensorflow"
            model_version_policy { specific { versions: 43 versions: 42 } }
            version_labels { key: "stable" value: 42 }
            version_labels { key: "canary" value: 43 }
            logging_config { sampling_config { sampling_rate: 0.1 } }
          }
        }
    """)
    assert config.kind is ConfigKind.MODEL_CONFIG_LIST
    assert config.models == (
        ModelSettings(
            name="m",
            base_path="/srv/m",
            model_platform="tensorflow",
            version_policy=Specific((43, 42)),
            version_labels={"stable": 42, "canary": 43},
            logging_config=b"\x12\x09\x09" + struct.pack("<d", 0.1),
        ),
    )


def test_every_freedom_of_the_text_format_is_understood() -> None:
    config = config_from("""
        model_config_list: { config: < name: 'a', base_path: '/a'; model_type: TENSORFLOW > # old
         config { name: 'b' 'c' base_path: '/b' model_platform: "tensorflow"
                  model_version_policy: {specific {versions: [1, 10]}} } }
    """)
    first, second = config.models
    assert first == ModelSettings(name="a", base_path="/a", model_type=1)
    assert (second.name, second.version_policy) == ("bc", Specific((1, 10)))


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        pytest.param("", Latest(1), id="unset: the latest"),
        pytest.param("model_version_policy {}", Latest(1), id="no choice: the latest"),
        pytest.param("model_version_policy { latest {} }", Latest(1), id="0 counts as 1"),
        pytest.param("model_version_policy { latest { num_versions: 3 } }", Latest(3), id="three"),
        pytest.param("model_version_policy { all {} }", All(), id="all"),
        pytest.param("model_version_policy { specific {} }", Specific(()), id="none"),
        pytest.param(
            "model_version_policy { specific { versions: -5 } }", Specific((-5,)), id="negative"
        ),
    ],
)
def test_the_version_policy(text: str, policy: VersionPolicy) -> None:
    (only,) = config_from(f"model_config_list {{ config {{ {text} }} }}").models
    assert only.version_policy == policy


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        pytest.param("", ConfigKind.UNSET, id="nothing"),
        pytest.param("model_config_list {}", ConfigKind.MODEL_CONFIG_LIST, id="an empty list"),
        pytest.param("custom_model_config {}", ConfigKind.CUSTOM_MODEL_CONFIG, id="custom"),
    ],
)
def test_a_config_without_models(text: str, kind: ConfigKind) -> None:
    assert config_from(text) == ModelServerConfig(kind)


@pytest.mark.parametrize(
    ("new", "running", "status"),
    [
        pytest.param(NO_CONFIG, None, "OK", id="nothing, at the start"),
        pytest.param(config_of(), None, "OK", id="an empty list, at the start"),
        pytest.param(config_of(model()), None, "OK", id="a list, at the start"),
        pytest.param(config_of(model()), NO_CONFIG, "OK", id="a list after nothing"),
        pytest.param(NO_CONFIG, NO_CONFIG, "OK", id="nothing after nothing"),
        pytest.param(config_of(), config_of(model()), "OK", id="an empty list after a list"),
        pytest.param(config_of(model()), config_of(model()), "OK", id="the same list again"),
        pytest.param(
            config_of(model(base_path="/n")), config_of(model()), "OK", id="another base path"
        ),
        pytest.param(
            NO_CONFIG,
            config_of(),
            "FAILED_PRECONDITION: Cannot transition to requested config. "
            "It is only legal to transition from one ModelConfigList to another.",
            id="nothing after a list",
        ),
        pytest.param(
            CUSTOM_CONFIG,
            config_of(),
            "FAILED_PRECONDITION: Cannot transition to requested config. "
            "It is only legal to transition from one ModelConfigList to another.",
            id="a custom config after a list",
        ),
        pytest.param(
            CUSTOM_CONFIG,
            None,
            "UNIMPLEMENTED: ModelServer does not yet support custom model config.",
            id="a custom config at the start",
        ),
    ],
)
def test_which_config_may_follow_which(
    new: ModelServerConfig, running: ModelServerConfig | None, status: str
) -> None:
    assert status_of(new, running) == status


@pytest.mark.parametrize(
    ("models", "status"),
    [
        pytest.param(
            [model("a"), model("b"), model("a")],
            "INVALID_ARGUMENT: Illegal to list model a multiple times in config list",
            id="a name twice",
        ),
        pytest.param(
            [model("r", "models/x")],
            "INVALID_ARGUMENT: Expected model r to have an absolute path or URI; "
            "got base_path()=models/x",
            id="a relative path",
        ),
        pytest.param(
            [model("r", "")],
            "INVALID_ARGUMENT: Expected model r to have an absolute path or URI; got base_path()=",
            id="no path",
        ),
        pytest.param(
            [model("r", "s3:/bucket")],
            "INVALID_ARGUMENT: Expected model r to have an absolute path or URI; "
            "got base_path()=s3:/bucket",
            id="a scheme with one slash",
        ),
        pytest.param(
            [model("r", "3s://bucket")],
            "INVALID_ARGUMENT: Expected model r to have an absolute path or URI; "
            "got base_path()=3s://bucket",
            id="a scheme that begins with a digit",
        ),
        pytest.param([model("r", "s3://bucket/m"), model("q", "file:///m")], "OK", id="URIs"),
        pytest.param([model("", "/m")], "OK", id="no name"),
        pytest.param([model(platform="", model_type=1)], "OK", id="the deprecated type"),
        pytest.param(
            [model(platform="")],
            "INVALID_ARGUMENT: Illegal setting neither ModelServerConfig::model_type (deprecated) "
            "nor ModelServerConfig::model_platform, model name is m",
            id="no platform",
        ),
        pytest.param(
            [model(model_type=1)],
            "INVALID_ARGUMENT: Illegal setting both ModelServerConfig::model_type (deprecated) "
            "and ModelServerConfig::model_platform, model name is m",
            id="platform and type",
        ),
        pytest.param(
            [model(platform="", model_type=2)],
            "INVALID_ARGUMENT: ModelServerConfig::model_type choice 2 not supported.",
            id="type OTHER",
        ),
        pytest.param(
            [model("a", platform="torch")],
            "INVALID_ARGUMENT: Model a requests unsupported platform torch",
            id="an unknown platform",
        ),
        pytest.param(
            [model("a", "relative"), model("b"), model("b")],
            "INVALID_ARGUMENT: Illegal to list model b multiple times in config list",
            id="names before paths",
        ),
        pytest.param(
            [model("a", platform="torch"), model("b", "relative")],
            "INVALID_ARGUMENT: Expected model b to have an absolute path or URI; "
            "got base_path()=relative",
            id="paths before platforms",
        ),
        pytest.param(
            [model("a", platform="torch"), model("b", platform="")],
            "INVALID_ARGUMENT: Model a requests unsupported platform torch",
            id="platforms model by model",
        ),
    ],
)
def test_what_a_list_of_models_must_be(models: list[ModelSettings], status: str) -> None:
    assert status_of(config_of(*models)) == status


@pytest.mark.parametrize(
    ("new", "status"),
    [
        pytest.param(
            [model("a", platform="torch")],
            "INVALID_ARGUMENT: Illegal to change a model's platform. For model a "
            "platform was tensorflow and new platform requested is torch",
            id="another",
        ),
        pytest.param([model("a", platform="", model_type=1)], "OK", id="the same, otherwise said"),
        pytest.param(
            [model("a", platform="")],
            "INVALID_ARGUMENT: Illegal setting neither ModelServerConfig::model_type (deprecated) "
            "nor ModelServerConfig::model_platform, model name is a",
            id="none",
        ),
    ],
)
def test_a_running_model_keeps_its_platform(new: list[ModelSettings], status: str) -> None:
    assert status_of(config_of(*new), config_of(model("a"))) == status


def test_a_changed_platform_is_found_before_the_labels_are_looked_at() -> None:
    with pytest.raises(ServingError, match="Illegal to change a model's platform"):
        validate(config_of(model("a", platform="torch")), config_of(model("a")))


@pytest.mark.parametrize(("before", "after"), [("auto", "tensorflow"), ("tensorflow", "auto")])
def test_a_platform_that_is_looked_for_may_be_named_and_the_other_way_round(
    before: str, after: str
) -> None:
    running = config_of(model("a", platform=before))
    validate(config_of(model("a", platform=after)), running)


def test_an_unsupported_platform_is_found_only_after_the_labels() -> None:
    validate(config_of(model("a", platform="torch")))


def test_more_platforms_can_be_supported() -> None:
    validate_platforms(config_of(model(platform="onnx")), supported=("tensorflow", "onnx"))


def test_the_deprecated_type_names_the_platform() -> None:
    assert platform_of(model(platform="", model_type=1)) == "tensorflow"


def test_a_reload_request_carries_the_same_config() -> None:
    request = message_class("tensorflow.serving.ReloadConfigRequest")()
    request.config.model_config_list.config.add(
        name="m", base_path="/m", model_platform="tensorflow"
    )
    assert from_message(request.config) == config_of(model())
