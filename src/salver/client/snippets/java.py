"""The snippet for Java."""

import json

from salver.client.snippets.question import KEY_VARIABLE, Question, Sample, check_rest

_FILL = """
    /** JSON with the same value everywhere. */
    static String fill(String value, int... shape) {
        String filled = value;
        for (int i = shape.length - 1; i >= 0; i--) {
            filled = "[" + String.join(",", Collections.nCopies(shape[i], filled)) + "]";
        }
        return filled;
    }
"""


def snippet(question: Question) -> str:
    """One file for Java 11 or later and its own HTTP client: `java Predict.java`.

    Raises:
        InvalidArgument: REST cannot carry it.
    """
    check_rest(question)
    large = question.large
    marks = {name: f"\0{index}\0" for index, name in enumerate(large)}
    body = _text(question.body(marks))
    for name, mark in marks.items():
        # Strings escape a NUL; see `_text`.
        body = body.replace(_text(mark)[1:-1], f'" + {_filled(large[name])} + "')
    key = (
        f'\n            .header("Authorization", "Bearer " + System.getenv("{KEY_VARIABLE}"))'
        if question.has_key
        else ""
    )
    imports = "import java.util.Collections;\n" if large else ""
    return f"""\
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
{imports}
public class Predict {{
    public static void main(String[] arguments) throws Exception {{
        String body = {body};
        HttpRequest request = HttpRequest.newBuilder(URI.create({_text(question.url)})){key}
            .header("Content-Type", "application/json")
            .POST(HttpRequest.BodyPublishers.ofString(body))
            .build();
        HttpResponse<String> response =
            HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
        System.out.println(response.body());
        if (response.statusCode() != 200) {{
            System.exit(1);
        }}
    }}
{_FILL if large else ""}}}
"""


def _filled(sample: Sample) -> str:
    shape = ", ".join(map(str, sample.shape))
    return f"fill({_text(json.dumps(sample.value))}, {shape})"


def _text(text: str) -> str:
    # JSON's escapes are all escapes of Java, too.
    return json.dumps(text)
