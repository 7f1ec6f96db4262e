"""Decision trees in the arrays that all frameworks keep them in, checked before they are run.

The frameworks follow the numbers of children and features in a file wherever they lead, out of
the memory too.
"""

import numpy as np


def check_tree(
    left: np.ndarray, right: np.ndarray, feature: np.ndarray, feature_count: int
) -> None:
    """Check the inner nodes of a tree whose root is node 0.

    Args:
        left: the left child of each node, -1 for a leaf.
        right: the right child; of leaves it does not count.
        feature: the feature that each node looks at; of leaves it does not count.
        feature_count: how many features there are.

    Raises:
        ValueError: a child or feature does not exist, or nodes do not make a tree.
    """
    if not len(left) == len(right) == len(feature):
        raise ValueError("the arrays of a tree have different lengths")
    inner = left != -1
    children = np.concatenate([left[inner], right[inner]])
    check_below(children, len(left), "a child of a node")
    # Where no node has two parents, and the root none, every way down comes to an end.
    if len(children) and (children.min() == 0 or np.bincount(children).max() > 1):
        raise ValueError("nodes do not make a tree")
    check_below(feature[inner], feature_count, "a feature of a node")


def check_below(numbers: np.ndarray, limit: int, what: str) -> None:
    """Check that numbers are positions below `limit`.

    Raises:
        ValueError: they are not; the text begins with `what`.
    """
    if len(numbers) and (numbers.min() < 0 or numbers.max() >= limit):
        raise ValueError(f"{what} does not exist")
