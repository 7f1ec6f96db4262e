"""What a model file of XGBoost says, checked before XGBoost reads it.

XGBoost believes the numbers in its files: a child or feature that does not exist leads it out of
its memory. Source: xgboost.readthedocs.io, "Introduction to Model IO", doc/model.schema.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from salver.backends.category_codes import Category
from salver.backends.tree_check import check_below, check_tree
from salver.backends.ubjson import parse_ubjson

_MOST_FEATURES = 1 << 24
_MOST_CATEGORIES = 1 << 24
"""XGBoost's own limit: codes are floats."""
_MOST_GROUPS = 1 << 20
_TREE = ("left_children", "right_children", "split_indices", "split_conditions", "default_left")


@dataclass(frozen=True, slots=True)
class XGBoostFile:
    """The parts of a model that decide about its signatures."""

    feature_count: int
    feature_names: Sequence[str]
    """Empty where the model was trained without."""
    categories: Sequence[Sequence[Category] | None]
    """Of each feature, in the order of their codes; None where codes or numbers are sent."""
    unreadable_categories: int
    """So many features have categories whose names XGBoost did not keep whole."""
    objective: str
    booster: str
    """`gbtree`, `dart` or `gblinear`."""
    best_iteration: int | None
    """The last iteration that counts, where training was stopped early."""
    written_by: int
    """The major version of XGBoost; 0 if the file does not tell."""


def read_xgboost(data: bytes) -> XGBoostFile:
    """Read and check a whole file, JSON or UBJSON.

    Raises:
        ValueError: it is no model of XGBoost, or one that it could not run safely.
    """
    try:
        document = _document(data)
        written_by = int(document.get("version", [0])[0])
        return _read(document["learner"], written_by)
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError) as error:
        raise ValueError(
            f"its fields are not those of XGBoost: {type(error).__name__}: {error}"
        ) from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _document(data: bytes) -> Any:
    if data[:2] == b"{L":
        return parse_ubjson(data)
    try:
        return json.loads(data, object_pairs_hook=_unique)
    except UnicodeDecodeError as error:
        raise ValueError("it is neither JSON nor UBJSON") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        # Another reader might take the other one.
        raise ValueError("an object has a key twice")
    return found


def _read(learner: Mapping[str, Any], written_by: int) -> XGBoostFile:
    parameters = learner["learner_model_param"]
    feature_count = int(parameters["num_feature"])
    groups = max(int(parameters["num_class"]), int(parameters.get("num_target", 1)), 1)
    if not 0 < feature_count < _MOST_FEATURES or groups > _MOST_GROUPS:
        raise ValueError(f"{feature_count} features and {groups} outputs cannot be")
    names = [str(name) for name in learner.get("feature_names", ())]
    if len(names) not in (0, feature_count):
        raise ValueError(f"it has {feature_count} features, but {len(names)} names of features")
    if len(set(names)) < len(names):
        raise ValueError("two features have the same name")
    booster = learner["gradient_booster"]
    name = str(booster["name"])
    categories: Sequence[Sequence[Category] | None] = [None] * feature_count
    unreadable = 0
    if name == "gblinear":
        weights = booster["model"]["weights"]
        if len(weights) != (feature_count + 1) * groups:
            raise ValueError(f"{len(weights)} weights do not fit {feature_count} features")
    elif name in ("gbtree", "dart"):
        model = booster["gbtree"]["model"] if name == "dart" else booster["model"]
        _check_trees(model, feature_count, groups)
        if name == "dart" and len(booster["weight_drop"]) != len(model["trees"]):
            raise ValueError("it has not one weight for each tree")
        encodings = model.get("cats", {}).get("enc", ())
        if len(encodings):
            # XGBoost counts characters and keeps as many bytes.
            unreadable = sum("offsets" in each and not _is_ascii(each) for each in encodings)
            categories = [_categories(each) for each in encodings] if not unreadable else categories
    else:
        raise ValueError(f"there is no booster {name!r}")
    if len(categories) != feature_count:
        raise ValueError(f"{len(categories)} lists of categories for {feature_count} features")
    best = learner.get("attributes", {}).get("best_iteration")
    return XGBoostFile(
        feature_count,
        names,
        categories,
        unreadable,
        str(learner["objective"]["name"]),
        name,
        None if best is None else int(best),
        written_by,
    )


def _check_trees(model: Mapping[str, Any], feature_count: int, groups: int) -> None:
    trees = model["trees"]
    parameters = model["gbtree_model_param"]
    if int(parameters["num_trees"]) != len(trees) or len(model["tree_info"]) != len(trees):
        raise ValueError(f"it has {len(trees)} trees, and says otherwise")
    check_below(np.asarray(model["tree_info"], np.int64), groups, "the output of a tree")
    iterations = np.asarray(model.get("iteration_indptr", ()), np.int64)
    check_below(iterations, len(trees) + 1, "a tree of an iteration")
    if (np.diff(iterations) < 0).any():
        raise ValueError("its iterations are not in order")
    for number, tree in enumerate(trees):
        if int(tree["id"]) != number:
            raise ValueError("its trees are not in order")
        _check_tree(tree, feature_count, groups)


def _check_tree(tree: Mapping[str, Any], feature_count: int, groups: int) -> None:
    parameters = tree["tree_param"]
    nodes = int(parameters["num_nodes"])
    if nodes < 1 or any(len(tree[name]) != nodes for name in _TREE):
        raise ValueError("the arrays of a tree have different lengths")
    left, right, feature = (np.asarray(tree[name], np.int64) for name in _TREE[:3])
    check_tree(left, right, feature, min(feature_count, int(parameters["num_feature"])))
    inner = np.flatnonzero(left != -1)
    parents = np.asarray(tree["parents"], np.int64)
    if len(parents) != nodes or any(
        (parents[side[inner]] != inner).any() for side in (left, right)
    ):
        raise ValueError("a node is not the parent of its children")
    outputs = int(parameters["size_leaf_vector"])
    if outputs > 1:
        _check_vector_leaves(tree, left, right, outputs, groups)
    elif "base_weights" in tree and len(tree["base_weights"]) not in (0, nodes):
        raise ValueError("the arrays of a tree have different lengths")
    _check_categories(tree, nodes, left)


def _check_vector_leaves(
    tree: Mapping[str, Any], left: np.ndarray, right: np.ndarray, outputs: int, groups: int
) -> None:
    if outputs != groups:
        raise ValueError(f"a leaf has {outputs} outputs, the model {groups}")
    if len(tree["split_type"]) != len(left) or (
        len(tree.get("loss_changes", ())) != len(tree.get("sum_hessian", ()))
    ):
        raise ValueError("the arrays of a tree have different lengths")
    weights = tree.get("leaf_weights", ())
    if len(weights):
        check_below(right[left < 0], len(weights) // outputs, "the weight of a leaf")
    elif len(tree["base_weights"]) != len(left) * outputs:
        raise ValueError("the arrays of a tree have different lengths")


def _check_categories(tree: Mapping[str, Any], nodes: int, left: np.ndarray) -> None:
    categorical = np.asarray(tree.get("categories_nodes", ()), np.int64)
    kinds = np.asarray(tree.get("split_type", ()), np.int64)
    if len(kinds) not in (0, nodes):
        raise ValueError("the arrays of a tree have different lengths")
    inner = np.flatnonzero((kinds == 1) & (left >= 0)) if len(kinds) else np.empty(0, np.int64)
    if len(np.setdiff1d(inner, categorical)):
        raise ValueError("a node has no categories")
    if not len(categorical):
        return
    check_below(categorical, nodes, "a node with categories")
    values = np.asarray(tree["categories"], np.int64)
    check_below(values, _MOST_CATEGORIES, "a category")
    begins = np.asarray(tree["categories_segments"], np.int64)
    sizes = np.asarray(tree["categories_sizes"], np.int64)
    if not len(begins) == len(sizes) == len(categorical) or (np.diff(categorical) <= 0).any():
        raise ValueError("the nodes with categories are not in order")
    check_below(begins, len(values) + 1, "the categories of a node")
    check_below(sizes, len(values) + 1, "the categories of a node")
    check_below(begins + sizes, len(values) + 1, "the categories of a node")


def _is_ascii(encoding: Mapping[str, Any]) -> bool:
    return bool((np.asarray(encoding["values"], np.int64) >= 0).all())


def _categories(encoding: Mapping[str, Any]) -> Sequence[Category] | None:
    values = np.asarray(encoding["values"])
    if "offsets" not in encoding:
        return values.tolist() if len(values) else None
    offsets = np.asarray(encoding["offsets"], np.int64)
    if not len(offsets):
        return None
    content = values.astype(np.int8).tobytes()
    check_below(offsets, len(content) + 1, "a category")
    if (np.diff(offsets) < 0).any():
        raise ValueError("its categories are not in order")
    bounds = zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
    return [content[begin:end].decode() for begin, end in bounds]
