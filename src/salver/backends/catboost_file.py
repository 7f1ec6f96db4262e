"""What a model file of CatBoost says, checked before CatBoost reads it.

CatBoost looks at the frame of its files, a FlatBuffer, but believes the numbers in it: a split or
leaf that does not exist leads it out of its memory. Source: CatBoost,
catboost/libs/model/flatbuffers/model.fbs and features.fbs.
"""

import struct
from collections.abc import Iterator

import numpy as np

from salver.backends.flatbuffer_wire import Table
from salver.backends.tree_check import check_below

START = b"CBM1"
_MODEL_TREES = 1
(
    _DIMENSION, _SPLITS, _SIZES, _STARTS, _CATEGORICAL, _FLOAT, _ONE_HOT, _CTR, _LEAVES, _WEIGHTS,
    _STEPS, _LEAF_IDS, _TEXT, _ESTIMATED,
) = range(14)  # fmt: skip
"""Fields of `TModelTrees`."""
_VALUES_OF = {_FLOAT: 3, _ONE_HOT: 1, _CTR: 1, _ESTIMATED: 3}
"""Kinds of features that splits look at, and the field with the values that they compare with."""
_FLAT_INDEX_OF = {_FLOAT: 2, _CATEGORICAL: 1, _TEXT: 1}
_MOST_FEATURES = 1 << 24
_MOST_DIMENSIONS = 1 << 20
_DEEPEST = 31


def check_catboost(data: bytes) -> None:
    """Check the trees of a whole file.

    Raises:
        ValueError: it is no model of CatBoost, or one that it could not run safely.
    """
    if data[:4] != START or len(data) < 12:
        raise ValueError(f"it does not begin with {START.decode()}")
    (size,) = struct.unpack_from("<I", data, 4)
    core = memoryview(data)[8 : 8 + size]
    if len(core) < size:
        raise ValueError("it is cut short")
    (root,) = struct.unpack_from("<I", core)
    trees = Table(core, root).field_table(_MODEL_TREES)
    _check_features(trees)
    dimension = trees.integer(_DIMENSION, "int32")
    if not 0 < dimension < _MOST_DIMENSIONS:
        raise ValueError(f"{dimension} outputs cannot be")
    splits = _numbers(trees, _SPLITS)
    sizes, starts = _numbers(trees, _SIZES), _numbers(trees, _STARTS)
    check_below(splits, sum(_split_counts(trees)), "a split")
    if len(sizes) != len(starts) or (starts != np.cumsum(sizes) - sizes).any():
        raise ValueError("its trees do not lie one after the other")
    if (sizes < 0).any() or int(sizes.sum()) != len(splits):
        raise ValueError(f"its trees do not have {len(splits)} splits")
    leaves = trees.vector(_LEAVES, 8)[1]
    if trees.vector(_STEPS, 4)[1]:
        _check_steps(trees, starts, sizes, leaves, dimension)
    else:
        check_below(sizes, _DEEPEST, "the depth of a tree")
        if int((1 << sizes).sum()) * dimension != leaves:
            raise ValueError(f"its trees do not have {leaves} leaves")
    weights = trees.vector(_WEIGHTS, 8)[1]
    if weights not in (0, leaves // dimension):
        raise ValueError("it has not one weight for each leaf")


def _check_features(trees: Table) -> None:
    """Each has a place of its own in the rows of a table."""
    places = [
        trees.table(kind, i).integer(field, "int32", -1)
        for kind, field in _FLAT_INDEX_OF.items()
        for i in range(trees.count(kind))
    ]
    check_below(np.array(places, np.int64), _MOST_FEATURES, "the place of a feature")
    if len(set(places)) < len(places):
        raise ValueError("two features have the same place")


def _split_counts(trees: Table) -> Iterator[int]:
    """How many splits there are, for each feature."""
    for kind, field in _VALUES_OF.items():
        for i in range(trees.count(kind)):
            yield trees.table(kind, i).vector(field, 4)[1]


def _check_steps(
    trees: Table, starts: np.ndarray, sizes: np.ndarray, leaves: int, dimension: int
) -> None:
    """Trees that are not symmetric: from each node, so many nodes on to the left or right."""
    both = trees.array(_STEPS, np.dtype("<u4"))
    steps = np.stack([both & 0xFFFF, both >> 16], axis=1).astype(np.int64)
    if len(steps) != int(sizes.sum()):
        raise ValueError("it has not one step for each node")
    ends = np.repeat(starts + sizes, sizes)
    here = np.arange(len(steps))
    for side in (0, 1):
        if (here + steps[:, side] >= ends).any():
            raise ValueError("a step leads out of its tree")
    # A node without a step to one side is where the way ends.
    ids = trees.array(_LEAF_IDS, np.dtype("<u4")).astype(np.int64)
    if len(ids) != len(steps):
        raise ValueError("it has not one leaf for each node")
    ending = (steps == 0).any(axis=1)
    check_below(ids[ending], max(leaves - dimension + 1, 0), "a leaf")


def _numbers(trees: Table, field: int) -> np.ndarray:
    return trees.array(field, np.dtype("<i4")).astype(np.int64)
