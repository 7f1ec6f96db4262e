"""ModelServerConfig: which models are served, from where, and which versions of them.

From the file, the flags of single-model mode, or a reload request to frozen values,
and the rules that a new config must pass before anything is touched.
"""

import logging
import re
from collections.abc import Collection, Container, Mapping
from dataclasses import dataclass, field
from enum import Enum

from salver.codecs.messages import WireMessage
from salver.config.flags import Flags
from salver.config.text_file import read_text_file
from salver.core.backend import AUTOMATIC, TENSORFLOW
from salver.core.version_policy import All, Latest, Specific, VersionPolicy
from salver.errors import FailedPrecondition, InvalidArgument, Unimplemented

logger = logging.getLogger(__name__)

_NO_TYPE, _TENSORFLOW_TYPE = 0, 1
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9.]+://")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """One model, as a user asks for it."""

    name: str
    base_path: str
    model_platform: str = ""
    """As written; `platform_of` tells what it comes to."""
    model_type: int = _NO_TYPE
    """The deprecated way to say the platform: 0 unset, 1 TensorFlow, 2 other."""
    version_policy: VersionPolicy = field(default_factory=lambda: Latest(1))
    version_labels: Mapping[str, int] = field(default_factory=dict)
    logging_config: bytes | None = None
    """As a serialized message; None if there is none."""


class ConfigKind(Enum):
    """Which alternative of ModelServerConfig is set."""

    UNSET = None
    MODEL_CONFIG_LIST = "model_config_list"
    CUSTOM_MODEL_CONFIG = "custom_model_config"


@dataclass(frozen=True, slots=True)
class ModelServerConfig:
    """The whole of what is to be served."""

    kind: ConfigKind = ConfigKind.UNSET
    models: tuple[ModelSettings, ...] = ()


def model_server_config(flags: Flags) -> ModelServerConfig:
    """The config that the flags ask for: the file's, else the single model's.

    Raises:
        ServingError: the file cannot be read, see `read_text_file`.
    """
    if flags.model_config_file:
        return read_model_config_file(flags.model_config_file)
    logger.info(
        "Building single TensorFlow model file config:  model_name: %s model_base_path: %s",
        flags.model_name,
        flags.model_base_path,
    )
    model = ModelSettings(
        name=flags.model_name, base_path=flags.model_base_path, model_platform=AUTOMATIC
    )
    return ModelServerConfig(ConfigKind.MODEL_CONFIG_LIST, (model,))


def read_model_config_file(path: str) -> ModelServerConfig:
    """The config in a text file; not yet validated.

    Raises:
        ServingError: see `read_text_file`.
    """
    return from_message(read_text_file(path, "tensorflow.serving.ModelServerConfig"))


def from_message(message: WireMessage) -> ModelServerConfig:
    """The config in a message, of a file or of a reload request; not yet validated."""
    kind = ConfigKind(message.WhichOneof("config"))
    if kind is not ConfigKind.MODEL_CONFIG_LIST:
        return ModelServerConfig(kind)
    return ModelServerConfig(kind, tuple(map(_model_settings, message.model_config_list.config)))


def _model_settings(message: WireMessage) -> ModelSettings:
    return ModelSettings(
        name=message.name,
        base_path=message.base_path,
        model_platform=message.model_platform,
        model_type=message.model_type,
        version_policy=_version_policy(message.model_version_policy),
        version_labels=dict(message.version_labels),
        logging_config=_serialized(message, "logging_config"),
    )


def _serialized(message: WireMessage, field: str) -> bytes | None:
    if not message.HasField(field):
        return None
    content: bytes = getattr(message, field).SerializeToString(deterministic=True)
    return content


def _version_policy(message: WireMessage) -> VersionPolicy:
    match message.WhichOneof("policy_choice"):
        case "all":
            return All()
        case "specific":
            return Specific(tuple(message.specific.versions))
        case _:
            return Latest(max(message.latest.num_versions, 1))


def validate(new: ModelServerConfig, running: ModelServerConfig | None = None) -> None:
    """Check what comes before the version labels: the shape, the paths, changed platforms.

    Raises:
        FailedPrecondition: the running config cannot be followed by this one.
        InvalidArgument: a name twice, a relative base path, another platform.
        Unimplemented: a custom config.
    """
    served = running or ModelServerConfig()
    if served.kind is not ConfigKind.UNSET and served.kind is not new.kind:
        raise FailedPrecondition(
            "Cannot transition to requested config. "
            "It is only legal to transition from one ModelConfigList to another."
        )
    if new.kind is ConfigKind.CUSTOM_MODEL_CONFIG:
        raise Unimplemented("ModelServer does not yet support custom model config.")
    _check_names(new.models)
    _check_base_paths(new.models)
    _check_same_platforms(new.models, served.models)


def validate_platforms(new: ModelServerConfig, supported: Container[str] = (TENSORFLOW,)) -> None:
    """Check what comes after the version labels: each model asks for one supported platform.

    Raises:
        InvalidArgument: none, two ways of saying it at once, or one that is not supported.
    """
    for model in new.models:
        platform = platform_of(model)
        if platform not in supported:
            raise InvalidArgument(f"Model {model.name} requests unsupported platform {platform}")


def platform_of(model: ModelSettings) -> str:
    """The platform that the model asks for.

    Raises:
        InvalidArgument: none, or two ways of saying it at once.
    """
    if model.model_type == _NO_TYPE:
        if model.model_platform:
            return model.model_platform
        raise InvalidArgument(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
            f"ModelServerConfig::model_platform, model name is {model.name}"
        )
    if model.model_platform:
        raise InvalidArgument(
            "Illegal setting both ModelServerConfig::model_type (deprecated) and "
            f"ModelServerConfig::model_platform, model name is {model.name}"
        )
    if model.model_type != _TENSORFLOW_TYPE:
        raise InvalidArgument(
            f"ModelServerConfig::model_type choice {model.model_type} not supported."
        )
    return TENSORFLOW


def _check_names(models: Collection[ModelSettings]) -> None:
    seen = set()
    for model in models:
        if model.name in seen:
            raise InvalidArgument(
                f"Illegal to list model {model.name} multiple times in config list"
            )
        seen.add(model.name)


def _check_base_paths(models: Collection[ModelSettings]) -> None:
    for model in models:
        if not model.base_path.startswith("/") and not _SCHEME.match(model.base_path):
            raise InvalidArgument(
                f"Expected model {model.name} to have an absolute path or URI; "
                f"got base_path()={model.base_path}"
            )


def _check_same_platforms(
    models: Collection[ModelSettings], served: Collection[ModelSettings]
) -> None:
    platforms = {model.name: platform_of(model) for model in served}
    for model in models:
        if model.name not in platforms:
            continue
        before, after = platforms[model.name], platform_of(model)
        if before != after and AUTOMATIC not in (before, after):
            raise InvalidArgument(
                f"Illegal to change a model's platform. For model {model.name} "
                f"platform was {before} and new platform requested is {after}"
            )
