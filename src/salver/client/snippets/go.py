"""The snippet for Go."""

import json

from salver.client.snippets.question import KEY_VARIABLE, Question, Sample, check_rest

_FILL = """
// fill is JSON with the same value everywhere.
func fill(value string, shape ...int) string {
	for i := len(shape) - 1; i >= 0; i-- {
		value = "[" + strings.TrimSuffix(strings.Repeat(value+",", shape[i]), ",") + "]"
	}
	return value
}
"""


def snippet(question: Question) -> str:
    """One file for Go and its standard library: `go run predict.go`.

    Raises:
        InvalidArgument: REST cannot carry it.
    """
    check_rest(question)
    large = question.large
    marks = {name: f"\0{index}\0" for index, name in enumerate(large)}
    body = _text(question.body(marks))
    for name, mark in marks.items():
        body = body.replace(_text(mark)[1:-1], f'" + {_filled(large[name])} + "')
    key = (
        f'\n\trequest.Header.Set("Authorization", "Bearer "+os.Getenv("{KEY_VARIABLE}"))'
        if question.has_key
        else ""
    )
    return f"""\
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
)

func main() {{
	body := {body}
	request, err := http.NewRequest("POST", {_text(question.url)}, strings.NewReader(body))
	if err != nil {{
		log.Fatal(err)
	}}
	request.Header.Set("Content-Type", "application/json"){key}
	response, err := http.DefaultClient.Do(request)
	if err != nil {{
		log.Fatal(err)
	}}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {{
		log.Fatal(err)
	}}
	fmt.Println(string(answer))
	if response.StatusCode != 200 {{
		os.Exit(1)
	}}
}}
{_FILL if large else ""}"""


def _filled(sample: Sample) -> str:
    shape = ", ".join(map(str, sample.shape))
    return f"fill({_text(json.dumps(sample.value))}, {shape})"


def _text(text: str) -> str:
    # JSON's escapes are all escapes of Go, too, in ASCII but for surrogates: so UTF-8 as it is.
    return json.dumps(text, ensure_ascii=False)
