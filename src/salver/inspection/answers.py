"""What `salver show` answers to its flags, as text, for one version."""

from dataclasses import dataclass, replace

from salver.codecs.messages import WireMessage
from salver.core.nearest import nearest
from salver.errors import InvalidArgument, NotFound
from salver.inspection.description import Description
from salver.inspection.saved_model import meta_graph_of, served_graph, tag_set
from salver.inspection.saved_model_words import (
    all_text,
    operations_text,
    signature_keys_text,
    signature_text,
    signatures_text,
    tag_sets_text,
)
from salver.inspection.screen import screen_text

_UNPAIRED = "--list_ops must be paired with a tag-set or with --all.\n"
_MODEL = "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The flags that `saved_model_cli show` has, too."""

    all: bool = False
    tag_set: str | None = None
    signature_def: str | None = None
    list_ops: bool = False
    like_original: bool = False
    """Whether without a flag the tag-sets come first, as with `--dir` there."""


def saved_model_answer(
    question: Question, saved_model: WireMessage, description: Description
) -> str:
    """For a SavedModel: what the original prints, then what it does not know.

    Raises:
        NotFound: there is no such tag-set or signature.
    """
    if question.all:
        words = all_text(saved_model)
        ending = "" if words.endswith("\n") else "\n"
        return f"{words}{ending}\n{screen_text(replace(description, signatures={}))}"
    if question.tag_set is not None:
        graph = meta_graph_of(saved_model, question.tag_set, description.path)
        return _graph_answer(question, graph, description)
    words = _UNPAIRED if question.list_ops else ""
    if question.like_original:
        words += tag_sets_text(map(tag_set, saved_model.meta_graphs))
    if not question.list_ops and question.signature_def is None:
        return _apart(words, screen_text(description))
    graph = served_graph(saved_model, description.path)
    return _apart(words, _graph_answer(question, graph, description))


def _graph_answer(question: Question, graph: WireMessage, description: Description) -> str:
    words = operations_text(graph) if question.list_ops else ""
    if question.signature_def is None:
        # Whoever asks for the operations of the served graph has not asked for its signatures.
        asks = question.tag_set is not None
        return words + (signature_keys_text(graph.signature_def) if asks else "")
    named = replace(description, signatures=dict(graph.signature_def))
    return words + signature_text(_signature(question.signature_def, named))


def _apart(first: str, second: str) -> str:
    return f"{first}\n{second}" if first else second


def answer(question: Question, description: Description) -> str:
    """For any other model: the same table, from the signatures that it has once it is loaded.

    Raises:
        NotFound: there is no such signature.
        InvalidArgument: the flag is for SavedModels.
    """
    what = description.path or description.model
    if question.list_ops:
        raise InvalidArgument(f"{what} is no SavedModel: --list_ops has nothing to list")
    if question.tag_set not in (None, "serve"):
        raise InvalidArgument(f"{what} is no SavedModel: it has no tag-set {question.tag_set!r}")
    if question.signature_def is not None:
        return signature_text(_signature(question.signature_def, description), 0, _MODEL)
    if question.all:
        table = signatures_text(description.signatures, _MODEL)
        return f"{table}\n{screen_text(replace(description, signatures={}))}"
    if question.tag_set is not None:
        return signature_keys_text(description.signatures, _MODEL)
    return screen_text(description)


def _signature(name: str, description: Description) -> WireMessage:
    found = description.signatures.get(name)
    if found is None:
        what = description.path or description.model
        reason = description.error or nearest(name, description.signatures).removeprefix("; ")
        raise NotFound(f"{what} has no signature {name!r}; {reason}")
    return found
