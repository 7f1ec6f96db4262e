"""SavedModels written by TensorFlow or Keras, with the method names that TensorFlow leaves out.

TensorFlow 2 calls every signature a predict one. Servers that look at the method name before they
classify want the right one, so it is put right in `saved_model.pb`.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

from salver.codecs.messages import message_class
from salver.core.signature import DEFAULT_SIGNATURE
from salver.errors import FailedPrecondition, InvalidArgument
from salver.export.signature_function import SignatureFunction

_MODEL_FILE = "saved_model.pb"
_FINGERPRINT = "fingerprint.pb"
_PYTHON = ("PyFunc", "PyFuncStateless", "EagerPyFunc")


def write_with_keras(
    keras: Any,
    model: Any,
    resources: Sequence[Any],
    functions: Sequence[SignatureFunction],
    folder: Path,
    options: Any,
) -> None:
    """Write a Keras model without what only training needs, such as the optimizer's state.

    `resources` are tables and the like that the functions use beside the model.

    Raises:
        InvalidArgument: it cannot be saved.
        FailedPrecondition: the folder cannot be written, for the disk is full, say.
    """
    archive = keras.export.ExportArchive()
    for resource in (model, *resources):
        archive.track(resource)
    for each in functions:
        archive.add_endpoint(each.name, each.function, [dict(each.specs)])
    _told_as_ours(lambda: archive.write_out(str(folder), options=options, verbose=False))
    _finish(folder, functions)


def write_with_tensorflow(
    tf: Any,
    model: Any,
    resources: Sequence[Any],
    functions: Sequence[SignatureFunction],
    folder: Path,
    options: Any,
) -> None:
    """Write a `tf.Module`, which stays reachable as `model` of what is loaded, or functions.

    Raises:
        InvalidArgument: it cannot be saved.
        FailedPrecondition: the folder cannot be written, for the disk is full, say.
    """
    root = tf.Module()
    if isinstance(model, tf.Module):
        root.model = model
    root.resources = list(resources)
    signatures = {each.name: each.function.get_concrete_function() for each in functions}
    # Those of functions outside of the module.
    root.captured = [v for each in signatures.values() for v in each.variables]
    signatures.setdefault(DEFAULT_SIGNATURE, signatures[functions[0].name])
    _told_as_ours(
        lambda: tf.saved_model.save(root, str(folder), signatures=signatures, options=options)
    )
    _finish(folder, functions)


def _told_as_ours(save: Any) -> None:
    from tensorflow.errors import OpError

    try:
        save()
    except OpError as error:
        # It names the operation in braces first, and last.
        told = " ".join(error.message.partition("}}")[2].partition(" [Op:")[0].split())
        raise FailedPrecondition(f"the model cannot be written: {told or error.message}") from error
    except AssertionError as error:
        if "untracked" not in str(error):
            raise
        raise InvalidArgument(
            "a function uses a table or another resource that belongs to no tf.Module; keep it as "
            "an attribute of a tf.Module and export that, with function='name'"
        ) from error
    except (ValueError, TypeError, NotImplementedError) as error:
        told = " ".join(str(error).split())
        raise InvalidArgument(f"the model cannot be saved: {told}") from error


def _finish(folder: Path, functions: Sequence[SignatureFunction]) -> None:
    path = folder / _MODEL_FILE
    methods = {each.name: each.method_name for each in functions}
    methods.setdefault(DEFAULT_SIGNATURE, functions[0].method_name)
    saved_model = message_class("tensorflow.SavedModel").FromString(path.read_bytes())
    _require_no_python(saved_model.meta_graphs)
    if not _changed(saved_model.meta_graphs, methods):
        return
    path.write_bytes(saved_model.SerializeToString())
    # It is a hash of what has just been changed.
    (folder / _FINGERPRINT).unlink(missing_ok=True)
    with suppress(ImportError, AttributeError):
        from tensorflow.python.saved_model import fingerprinting_utils

        fingerprinting_utils.write_fingerprint(str(folder))


def _require_no_python(meta_graphs: Any) -> None:
    """In this process its functions are there, and nowhere else: no trial would tell."""
    graphs = [meta_graph.graph_def for meta_graph in meta_graphs]
    functions = [function for graph in graphs for function in graph.library.function]
    nodes = chain(*(graph.node for graph in graphs), *(function.node_def for function in functions))
    found = next((node for node in nodes if node.op in _PYTHON), None)
    if found is not None:
        raise InvalidArgument(
            f"the model cannot be served: {found.name} calls a function of Python "
            "(tf.py_function or tf.numpy_function), which no server has; write it with "
            "operations of TensorFlow"
        )


def _changed(meta_graphs: Any, methods: Mapping[str, str]) -> bool:
    changed = False
    for meta_graph in meta_graphs:
        for name, definition in meta_graph.signature_def.items():
            method = methods.get(name, definition.method_name)
            if definition.method_name != method:
                definition.method_name = method
                changed = True
    return changed
