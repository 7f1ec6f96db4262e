"""The parts of scikit-learn models that native code believes, checked after they are loaded."""

from typing import Any

import numpy as np

from salver.backends.object_graph import parts_of
from salver.backends.tree_check import check_below, check_tree

_TREE = "sklearn.tree._tree.Tree"
_NEIGHBOURS = ("sklearn.neighbors._kd_tree.KDTree", "sklearn.neighbors._ball_tree.BallTree")


def check_estimator(estimator: Any) -> None:
    """Check all trees in an estimator.

    Raises:
        ValueError: one leads out of the memory.
        AttributeError, KeyError, IndexError, TypeError: something is not what it should be.
    """
    part: Any
    for part in parts_of(estimator):
        kind = f"{type(part).__module__}.{type(part).__qualname__}"
        fields = getattr(part, "__dict__", {})
        if kind == _TREE:
            _check_decision_tree(part)
        elif kind in _NEIGHBOURS:
            _check_neighbours(part)
        if "tree_" in fields:
            _check_width(part, part.n_features_in_)
        if "estimators_" in fields and "n_features_in_" in fields:
            _check_ensemble(part)
        if "_predictors" in fields:
            _check_histograms(part)


def _check_decision_tree(tree: Any) -> None:
    if not tree.node_count:
        raise ValueError("a tree has no nodes")
    check_tree(tree.children_left, tree.children_right, tree.feature, tree.n_features)


def _check_width(owner: Any, expected: int) -> None:
    if owner.tree_.n_features != expected:
        raise ValueError("a tree looks at other features than its model")


def _check_ensemble(ensemble: Any) -> None:
    """Some ensembles run their trees without asking how many features they look at."""
    chosen = getattr(ensemble, "estimators_features_", None)
    for i, each in enumerate(np.asarray(ensemble.estimators_, object).ravel()):
        if hasattr(each, "tree_"):
            _check_width(each, ensemble.n_features_in_ if chosen is None else len(chosen[i]))


def _check_histograms(model: Any) -> None:
    """The trees of histogram-based gradient boosting."""
    is_categorical = np.asarray(model._bin_mapper.is_categorical_, bool)
    if len(is_categorical) != model.n_features_in_:
        raise ValueError("it does not tell about each feature")
    for predictors in model._predictors:
        for predictor in predictors:
            _check_predictor(predictor, is_categorical)


def _check_predictor(predictor: Any, is_categorical: np.ndarray) -> None:
    nodes = predictor.nodes
    if not len(nodes):
        raise ValueError("a tree has no nodes")
    leaf = nodes["is_leaf"] != 0
    left, right = (np.where(leaf, -1, nodes[side].astype(np.int64)) for side in ("left", "right"))
    features = nodes["feature_idx"].astype(np.int64)
    check_tree(left, right, features, len(is_categorical))
    categorical = ~leaf & (nodes["is_categorical"] != 0)
    if not is_categorical[features[categorical]].all():
        raise ValueError("a node has categories of a feature that has none")
    sets = nodes["bitset_idx"].astype(np.int64)[categorical]
    for bitsets in (predictor.raw_left_cat_bitsets, predictor.binned_left_cat_bitsets):
        if bitsets.ndim != 2 or bitsets.shape[1] != 8:
            raise ValueError("a set of categories has another size")
        check_below(sets, len(bitsets), "a set of categories")


def _check_neighbours(tree: Any) -> None:
    data, index, nodes, bounds, _, levels, count = tree.__getstate__()[:7]
    if len(index) != len(data) or not len(nodes) == count == bounds.shape[1] == 2**levels - 1:
        raise ValueError("the arrays of a tree have different lengths")
    check_below(index, len(data), "a point")
    check_below(nodes["idx_start"], len(data) + 1, "a point")
    check_below(nodes["idx_end"], len(data) + 1, "a point")
    inner = np.flatnonzero(nodes["is_leaf"] == 0)
    check_below(2 * inner + 2, count, "a child of a node")
