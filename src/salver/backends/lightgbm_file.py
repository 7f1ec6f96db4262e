"""What a model file of LightGBM says, checked before LightGBM reads it.

LightGBM believes the numbers in its files: a child or feature that does not exist leads it out of
its memory. It is therefore given what was checked and nothing else: the head and the trees.
Source: LightGBM, src/boosting/gbdt_model_text.cpp and src/io/tree.cpp.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from salver.backends.category_codes import Category
from salver.backends.tree_check import check_below, check_tree

START = b"tree\nversion="
_MOST_FEATURES = 1 << 24
_MOST_CLASSES = 1 << 20
_END = "end of trees"
_CATEGORIES = "pandas_categorical:"
_INNER = ("split_feature", "threshold", "decision_type", "left_child", "right_child")
_FLAG = "average_output"
_INNER_COUNTS = ("split_gain", "internal_value", "internal_weight", "internal_count")
_LEAVES = ("leaf_value", "leaf_weight", "leaf_count")
_OPTIONAL = (*_INNER_COUNTS, "leaf_weight", "leaf_count")
_IS_CATEGORICAL = 1
"""A bit of `decision_type`."""

Entries = dict[str, str]
"""Lines of a key and a value; those without `=` have none."""


@dataclass(frozen=True, slots=True)
class LightGBMFile:
    """The parts of a model that decide about its signatures, and what LightGBM is given."""

    text: str
    feature_names: Sequence[str]
    categories: Sequence[Sequence[Category] | None]
    """Of each feature, in the order of their codes; None where codes or numbers are sent."""
    unmatched_categories: int
    """So many lists of categories belong to columns that the file does not tell."""
    objective: str
    classes: int
    written_by: int
    """The major version of LightGBM."""


def read_lightgbm(data: bytes) -> LightGBMFile:
    """Read and check a whole file.

    Raises:
        ValueError: it is no model of LightGBM, or one that it could not run safely.
    """
    lines = data.decode().splitlines()
    if not data.startswith((START, START.replace(b"\n", b"\r\n"))) or _END not in lines:
        raise ValueError("it does not begin and end as LightGBM writes it")
    end = lines.index(_END)
    blocks = list(_blocks(lines[:end]))
    head, trees = blocks[0], blocks[1:]
    try:
        names = head["feature_names"].split()
        _check_head(head, names, len(trees))
        for number, tree in enumerate(trees):
            if tree["Tree"] != str(number):
                raise ValueError("its trees are not in order")
            _check_tree(tree, len(names))
        categories = _categories(lines[end:])
    except (KeyError, OverflowError) as error:
        raise ValueError(f"its fields are not those of LightGBM: {error}") from error
    of_features, unmatched = _matched(categories, head["feature_infos"].split())
    # Where trees begin in the file is for reading them side by side, and need not be so.
    head.pop("tree_sizes", None)
    text = "".join(f"{_written(block)}\n" for block in blocks) + f"\n{_END}\n"
    words = head.get("objective", "").split()
    return LightGBMFile(
        "tree\n" + text,
        names,
        of_features,
        unmatched,
        words[0] if words else "",
        int(head["num_class"]),
        int(head["version"].removeprefix("v")),
    )


def _blocks(lines: Sequence[str]) -> Iterator[Entries]:
    """The entries of the head, then those of each tree."""
    entries: Entries = {}
    for line in lines[1:]:
        key, _, value = line.strip().partition("=")
        if key == "Tree":
            yield entries
            entries = {}
        if key in entries:
            raise ValueError(f"it has {key} twice")
        if key:
            entries[key] = value
    yield entries


def _written(entries: Entries) -> str:
    # The averages of a forest are asked for by a line of one word.
    lines = (key if key == _FLAG else f"{key}={value}" for key, value in entries.items())
    return "".join(f"{line}\n" for line in lines)


def _check_head(head: Entries, names: Sequence[str], tree_count: int) -> None:
    classes, per_iteration = int(head["num_class"]), int(head["num_tree_per_iteration"])
    if not 0 < classes == per_iteration < _MOST_CLASSES or tree_count % per_iteration:
        raise ValueError(f"{tree_count} trees do not fit {classes} classes")
    count = int(head["max_feature_idx"]) + 1
    if not 0 < count < _MOST_FEATURES or count != len(names):
        raise ValueError(f"it has {count} features, but {len(names)} names of features")
    if len(set(names)) < len(names):
        raise ValueError("two features have the same name")
    if len(head["feature_infos"].split()) != count:
        raise ValueError("it does not tell about each feature")
    for word in head.get("objective", "").split():
        key, _, value = word.partition(":")
        if key == "num_class" and int(value) != classes:
            raise ValueError("the objective has another number of classes")
    name = head.get("objective", "").partition(" ")[0]
    if name.startswith("multiclass") and "num_class:" not in head["objective"]:
        raise ValueError("the objective has no number of classes")


def _check_tree(tree: Entries, feature_count: int) -> None:
    leaves = int(tree["num_leaves"])
    inner = leaves - 1
    if leaves < 1:
        raise ValueError("a tree has no leaves")
    if "leaf_value" not in tree:
        raise ValueError("a tree has no values")
    for names, count in ((_LEAVES, leaves), (_INNER_COUNTS, inner), (_INNER[1:2], inner)):
        for name in names:
            _floats(tree, name, count)
    categories = int(tree["num_cat"])
    if tree.get("is_linear", "0") != "0":
        _check_linear(tree, leaves, feature_count)
    if not inner:
        return
    feature, decision, left, right = (
        _integers(tree, name, inner) for name in _INNER if name != "threshold"
    )
    for side in (left, right):
        check_below(side[side >= 0], inner, "a child of a node")
        check_below(~side[side < 0], leaves, "a leaf of a node")
    ends = np.full(leaves, -1)
    left, right = (np.concatenate([np.where(s < 0, inner + ~s, s), ends]) for s in (left, right))
    check_tree(left, right, np.concatenate([feature, ends]), feature_count)
    check_below(decision, 1 << 7, "a kind of decision")
    categorical = (decision & _IS_CATEGORICAL) != 0
    _check_categories(tree, categories, _floats(tree, "threshold", inner)[categorical])


def _check_categories(tree: Entries, count: int, chosen: np.ndarray) -> None:
    if count < 0 or (chosen != np.floor(chosen)).any():
        raise ValueError("a tree has no such categories")
    check_below(chosen, count, "a set of categories")
    if count:
        bounds = _integers(tree, "cat_boundaries", count + 1)
        words = tree["cat_threshold"].split()
        if bounds[0] < 0 or (np.diff(bounds) < 0).any() or bounds[-1] != len(words):
            raise ValueError("the categories of a tree are not in order")
        check_below(_integers(tree, "cat_threshold", len(words)), 1 << 32, "a category")


def _check_linear(tree: Entries, leaves: int, feature_count: int) -> None:
    counts = _integers(tree, "num_features", leaves)
    check_below(counts, feature_count + 1, "a number of features")
    total = int(counts.sum())
    check_below(_integers(tree, "leaf_features", total), feature_count, "a feature of a leaf")
    _floats(tree, "leaf_coeff", total)
    _floats(tree, "leaf_const", leaves)


def _integers(tree: Entries, name: str, count: int) -> np.ndarray:
    return _counted(name, count, np.array(list(map(int, tree[name].split())), np.int64))


def _floats(tree: Entries, name: str, count: int) -> np.ndarray:
    """The numbers of an entry; where it is empty or missing, LightGBM does without it."""
    words = tree.get(name, "").split()
    found = np.array(list(map(float, words)), np.float64)
    return found if not words and name in _OPTIONAL else _counted(name, count, found)


def _counted(name: str, count: int, found: np.ndarray) -> np.ndarray:
    if len(found) != count:
        raise ValueError(f"a tree has {len(found)} numbers of {name}, not {count}")
    return found


def _categories(lines: Sequence[str]) -> list[list[Category]]:
    """What pandas called the categories, for each column that had some."""
    for line in lines:
        if line.startswith(_CATEGORIES):
            found = json.loads(line.removeprefix(_CATEGORIES))
            if found is None:
                return []
            if not all(isinstance(each, list) for each in found):
                raise ValueError("its categories are not lists")
            return found  # type: ignore[no-any-return]
    return []


def _matched(
    categories: Sequence[Sequence[Category]], feature_infos: Sequence[str]
) -> tuple[Sequence[Sequence[Category] | None], int]:
    """The categories of each feature, and how many lists belong to none that could be found."""
    of_features: list[Sequence[Category] | None] = [None] * len(feature_infos)
    # `[0:1]` is a range of numbers, `0:1:2` are codes, and `none` may have been either.
    places = [i for i, info in enumerate(feature_infos) if info[0] != "[" and info != "none"]
    if len(places) != len(categories):
        return of_features, len(categories)
    for place, each in zip(places, categories, strict=True):
        of_features[place] = each
    return of_features, 0
