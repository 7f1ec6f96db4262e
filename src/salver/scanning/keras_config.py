"""What the configuration of a Keras model makes and calls when Keras reads it.

Keras imports modules by name and calls functions that the configuration names; Lambda layers carry
byte code. Source: keras/src/saving/serialization_lib.py, and advisories about it.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from salver.scanning.pickle_names import verdict
from salver.scanning.report import Finding

KERAS_CONFIG = "config.json"
"""The member of a `.keras` archive that says what is made."""
_CODE_CLASSES: Mapping[str, str] = {
    "Lambda": "it holds byte code of a function, which runs when the layer is called",
    "__lambda__": "it is byte code of a function",
    "TorchModuleWrapper": "it holds a pickled module of PyTorch",
    "TFSMLayer": "it loads a SavedModel from a path of its own, which may hold anything",
    "JaxLayer": "it calls functions of Python that it names",
    "FlaxLayer": "it calls functions of Python that it names",
    "PyFunc": "it calls a function of Python",
    "CallbackLambda": "it calls a function of Python",
    "LambdaCallback": "it calls a function of Python",
}
_OWN_MODULE = re.compile(
    r"(tf_)?keras(\.src|\.api(\._v2)?)?"
    r"(\.(layers|models|engine|activations|initializers|regularizers|constraints|losses|metrics"
    r"|optimizers|dtype_policies|quantizers|ops|random|applications|backend|legacy|export"
    r"|mixed_precision|preprocessing|utils\.generic_utils)(\.[a-z0-9_]+)*)?"
)
_OWN_FUNCTION = re.compile(
    r"(tf_)?keras(\.src|\.api(\._v2)?)?"
    r"\.(activations|initializers|regularizers|constraints|losses|metrics|quantizers|ops|random)"
    r"(\.[a-z0-9_]+)*"
)
_MORE_THAN_MATHS = re.compile(
    r"(compat\.v[12]\.)?(io|raw_ops|data|saved_model|train|summary|keras|config|profiler|sysconfig"
    r"|distribute|experimental|autograph|function|py_func|py_function|numpy_function|print|load_"
    r"|py_test|test|queue|gfile|app|flags|resource_loader)\b.*|.*(read|write|save|load)_.*"
)
"""Functions of TensorFlow's API that do more than compute."""
_PLAIN_MODULES = (None, "", "builtins", "numpy", "keras.saving.object_registration")
_TENSORFLOW_CALLS = ("TFOpLambda", "TensorFlowOpLayer", "ClassMethod", "InstanceMethod")
_FILE_SETTINGS = {
    "StringLookup": "vocabulary",
    "IntegerLookup": "vocabulary",
    "IndexLookup": "vocabulary",
    "TextVectorization": "vocabulary",
    "TFSMLayer": "filepath",
}
_DATA_CLASSES = ("__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__", "__tuple__",
                 "__complex__", "__typespec__", "__namedtuple__")  # fmt: skip


def keras_findings(config: Any, where: str) -> Iterator[Finding]:
    """Look through everything that was read from a configuration."""
    waiting = [config]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            if "class_name" in each:
                yield from _object_findings(each, where)
                if each["class_name"] == "Lambda":
                    continue  # What is in it is its code, which has been told.
            waiting.extend(each.values())
        elif isinstance(each, list):
            waiting.extend(each)


def _object_findings(each: Mapping[str, Any], where: str) -> Iterator[Finding]:
    class_name, module = str(each["class_name"]), each.get("module")
    config = each.get("config")
    name = str(config.get("name", "")) if isinstance(config, dict) else ""
    place = f'{where}: {class_name} "{name}"' if name else f"{where}: {class_name}"
    short = class_name.rpartition(">")[2].rpartition(".")[2]
    if short in _CODE_CLASSES:
        yield Finding("runs-code", place, f"a {short}", short, _CODE_CLASSES[short])
    setting = _FILE_SETTINGS.get(short)
    if setting and isinstance(config, dict) and isinstance(config.get(setting), str):
        yield Finding(
            "reads-file",
            place,
            f"its {setting} is the file {config[setting][:100]}",
            short,
            "Keras reads the file, or fetches the URL, when it makes the layer",
        )
    if short in _TENSORFLOW_CALLS and isinstance(config, dict):
        function = str(config.get("function", ""))
        if _MORE_THAN_MATHS.fullmatch(function):
            yield Finding("runs-code", place, f"it calls tf.{function[:100]}", function,
                          "Keras calls whatever of TensorFlow is named there")  # fmt: skip
    if class_name in _DATA_CLASSES:
        return
    if class_name == "function":
        yield from _function_findings(config, module, where)
    elif module not in _PLAIN_MODULES and not _is_own(module):
        known = verdict(str(module), class_name)
        yield Finding(
            known.rule if known.rule not in ("", "unknown-import") else "unknown-object",
            place,
            f"the class {module}.{class_name}",
            f"{module}.{class_name}",
            known.why or "Keras imports the module to make it",
        )
    elif _is_custom(each):
        yield Finding(
            "unknown-object",
            place,
            f"the custom class {each.get('registered_name') or class_name}",
            class_name,
            "Keras loads it only where its code is registered",
        )


def _function_findings(config: object, module: object, where: str) -> Iterator[Finding]:
    name = config if isinstance(config, str) else str(config)[:100]
    place = f"{where}: function {name}"
    if module in _PLAIN_MODULES:
        yield Finding(
            "unknown-object",
            place,
            f"the custom function {name}",
            name,
            "Keras loads it only where its code is registered",
        )
    elif not _OWN_FUNCTION.fullmatch(str(module)):
        known = verdict(str(module), name)
        yield Finding(
            "runs-code",
            place,
            f"the function {module}.{name}",
            f"{module}.{name}",
            known.why or "Keras imports the module and the model calls the function",
        )


def _is_own(module: object) -> bool:
    return isinstance(module, str) and bool(_OWN_MODULE.fullmatch(module))


def _is_custom(each: Mapping[str, Any]) -> bool:
    registered = each.get("registered_name")
    if not isinstance(registered, str) or registered == each["class_name"]:
        return False
    return bool(registered) and not registered.startswith(("keras>", "keras_hub>"))
