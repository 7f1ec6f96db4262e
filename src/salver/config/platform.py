"""PlatformConfigMap: one file in the place of many flags that say how models are run.

What it holds for TensorFlow is laid over the flags that it replaces, so that nothing
behind this module knows of two ways to be told the same.
"""

from dataclasses import replace
from typing import Any, cast

from google.protobuf.message import DecodeError

from salver.codecs.messages import WireMessage, message_class
from salver.config.flags import Flags
from salver.core.backend import TENSORFLOW
from salver.errors import InternalError, InvalidArgument

_ADAPTER_CONFIG = "tensorflow.serving.SavedModelBundleSourceAdapterConfig"


def session_bundle_config(platforms: WireMessage) -> WireMessage:
    """What a PlatformConfigMap says of TensorFlow models: a SessionBundleConfig.

    Raises:
        InvalidArgument: nothing, or something of another kind.
        InternalError: a kind that is not known at all.
    """
    if TENSORFLOW not in platforms.platform_configs:
        raise InvalidArgument(
            f"The platform config has nothing for the platform {TENSORFLOW}, the only one "
            "that models can ask for"
        )
    packed = platforms.platform_configs[TENSORFLOW].source_adapter_config
    _, slash, kind = packed.type_url.rpartition("/")
    if not slash:
        raise InvalidArgument(f"Supplied config's type_url could not be parsed: {packed.type_url}")
    try:
        adapter = message_class(kind)()
    except KeyError as error:
        raise InternalError(
            f"Unable to find compiled-in proto descriptor of type {kind}"
        ) from error
    if kind != _ADAPTER_CONFIG:
        raise InvalidArgument(
            f"Couldn't find factory for config proto message type {kind}\nconfig={packed}"
        )
    try:
        adapter.ParseFromString(packed.value)
    except DecodeError as error:
        raise InvalidArgument(f"The platform config holds no valid {kind}") from error
    return cast(WireMessage, adapter.legacy_config)


def flags_with(flags: Flags, config: WireMessage) -> Flags:
    """The flags as if they said what a SessionBundleConfig says, but for its messages."""
    warm_up = config.model_warmup_options
    changes: dict[str, Any] = {
        "saved_model_tags": ",".join(config.saved_model_tags),
        "enable_model_warmup": config.enable_model_warmup,
        "num_request_iterations_for_warmup": warm_up.num_request_iterations.value,
        "prefer_tflite_model": config.prefer_tflite_model,
        "mixed_precision": config.mixed_precision,
        "enable_batching": config.HasField("batching_parameters"),
        "batching_parameters_file": "",
        "enable_per_model_batching_parameters": config.enable_per_model_batching_params,
        "batching": "off",
    }
    # A number that is not given leaves the choice to the flags.
    for field, flag in (
        ("num_tflite_pools", "num_tflite_pools"),
        ("num_tflite_interpreters_per_pool", "num_tflite_interpreters_per_pool"),
    ):
        if getattr(config, field) > 0:
            changes[flag] = getattr(config, field)
    return replace(flags, **changes)
