"""The snippet for JavaScript."""

import json

from salver.client.snippets.question import KEY_VARIABLE, Question, Sample, check_rest

_FILL = """\
// The same value everywhere.
const fill = (value, ...shape) =>
  shape.reduceRight((filled, size) => Array(size).fill(filled), value);

"""


def snippet(question: Question) -> str:
    """A module for Node 18 or later, or a browser, with `fetch`: `node predict.mjs`.

    Raises:
        InvalidArgument: REST cannot carry it.
    """
    check_rest(question)
    large = question.large
    key = (
        f"\n    Authorization: `Bearer ${{process.env.{KEY_VARIABLE}}}`,"
        if question.has_key
        else ""
    )
    return f"""\
{_FILL if large else ""}const response = await fetch({json.dumps(question.url)}, {{
  method: "POST",
  headers: {{
    "Content-Type": "application/json",{key}
  }},
  body: {_body(question)},
}});
console.log(await response.text());
if (!response.ok) process.exitCode = 1;
"""


def _body(question: Question) -> str:
    if question.examples:
        # As text: JavaScript would write 22.0 as 22, which is an integer to the server.
        return json.dumps(question.body({}))
    # JSON is JavaScript.
    large = {name: _filled(sample) for name, sample in question.large.items()}
    return f"JSON.stringify({question.body(large)})"


def _filled(sample: Sample) -> str:
    return f"fill({json.dumps(sample.value)}, {', '.join(map(str, sample.shape))})"
