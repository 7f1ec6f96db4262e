"""The snippet for a shell."""

import json
import shlex

from salver.client.snippets.question import KEY_VARIABLE, Question, Sample, check_rest

_REPEAT = """\
# A list of so many copies.
repeat() { printf '[%s]' "$(yes "$1" | head -n "$2" | paste -sd, -)"; }"""


def snippet(question: Question) -> str:
    """A POSIX shell script with curl; it fails if the server answers with an error.

    Raises:
        InvalidArgument: REST cannot carry it.
    """
    check_rest(question)
    lines = ["#!/bin/sh"]
    large = {name: f"input_{index}" for index, name in enumerate(question.large)}
    if large:
        lines.append(_REPEAT)
    for name, variable in large.items():
        lines.append(f"{variable}={_repeated(question.large[name])}")
    command = "curl --silent --show-error --fail-with-body"
    if question.has_key:
        command += f' --header "Authorization: Bearer ${KEY_VARIABLE}"'
    command += " --header 'Content-Type: application/json'"
    body = question.body({name: f"\0{variable}\0" for name, variable in large.items()})
    if large:
        for special in ("\\", "$", "`"):
            body = body.replace(special, f"\\{special}")
        for variable in large.values():
            body = body.replace(f"\0{variable}\0", f"${variable}")
    end = "EOF" if large else "'EOF'"
    lines.append(f"{command} --data-binary @- {shlex.quote(question.url)} <<{end}")
    return "\n".join([*lines, body, "EOF"]) + "\n"


def _repeated(sample: Sample) -> str:
    text = shlex.quote(json.dumps(sample.value))
    for dimension in reversed(sample.shape):
        text = f'"$(repeat {text} {dimension})"'
    return text
