import pytest

from salver.transport.routes import Route, Verb, route

MALFORMED = Route(Verb.MALFORMED)
MISSING = Route(Verb.MISSING_MODEL)


def inference(
    verb: Verb, model: str, version: int | None = None, label: str | None = None
) -> Route:
    return Route(verb, model, version, label, verb.name.lower())


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/v1/models/m:predict", inference(Verb.PREDICT, "m")),
        (b"/v1/models/m:classify", inference(Verb.CLASSIFY, "m")),
        (b"/v1/models/m:regress", inference(Verb.REGRESS, "m")),
        (b"/v1/models/m/versions/12:predict", inference(Verb.PREDICT, "m", 12)),
        (b"/v1/models/m/versions/0:predict", inference(Verb.PREDICT, "m", 0)),
        (b"/v1/models/m/labels/stable:predict", inference(Verb.PREDICT, "m", None, "stable")),
        (b"/V1/MODELS/M/Versions/1:predict", inference(Verb.PREDICT, "M", 1)),
        (b"/v1/models/versions/versions/1:predict", inference(Verb.PREDICT, "versions", 1)),
        (b"/v1/models/a%2Fb%3ac%20+%25:predict", inference(Verb.PREDICT, "a/b:c +%")),
        (b"/v1/models/m/labels/%2f%3A:predict", inference(Verb.PREDICT, "m", None, "/:")),
        (b"/v1/models/gr%C3%B6%C3%9Fe:predict", inference(Verb.PREDICT, "größe")),
        (b"/v1/models/%ff:predict", inference(Verb.PREDICT, "\udcff")),
        (b"/v1/models/m:PREDICT", Route(Verb.MALFORMED, "m")),
        (b"/v1/models/m:Classify", Route(Verb.MALFORMED, "m")),
        (b"/v1/models/m:explain", MALFORMED),
        (b"/v1/models/m", MALFORMED),
        (b"/v1/models/m:", MALFORMED),
        (b"/v1/models/m:predict/", MALFORMED),
        (b"/v1/models/m:predict?x=1", MALFORMED),
        (b"/v1/models/:predict", MALFORMED),
        (b"/v1/models:predict", MALFORMED),
        (b"/v1/models/m/metadata", MALFORMED),
        (b"/v1/models/m/versions/50/labels/x:regress", MALFORMED),
        (b"/v1/models/m/version/50:predict", MALFORMED),
        (b"/v1/models/m/label/x:predict", MALFORMED),
        (b"/v1/models/m/versions/text:predict", MALFORMED),
        (b"/v1/models/m/versions/-1:predict", MALFORMED),
        (b"/v1/models/m/versions/:predict", MALFORMED),
        (b"/v1/models/m/versions/\xd9\xa1:predict", MALFORMED),
    ],
)
def test_what_a_post_means(target: bytes, expected: Route) -> None:
    assert route(b"POST", target) == expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/v1/models/m", Route(Verb.STATUS, "m")),
        (b"/v1/models/m/versions/7", Route(Verb.STATUS, "m", 7)),
        (b"/v1/models/m/labels/x", Route(Verb.STATUS, "m", None, "x")),
        (b"/v1/models/m/metadata", Route(Verb.METADATA, "m")),
        (b"/v1/models/m/versions/7/metadata", Route(Verb.METADATA, "m", 7)),
        (b"/v1/models/m/labels/x/metadata", Route(Verb.METADATA, "m", None, "x")),
        (b"/v1/models/m/METADATA", Route(Verb.STATUS, "m")),
        (b"/v1/models/m/Metadata", Route(Verb.STATUS, "m")),
        (b"/v1/models/metadata", Route(Verb.STATUS, "metadata")),
        (b"/v1/models/versions", Route(Verb.STATUS, "versions")),
        (b"/v1/models/m?x=1", Route(Verb.STATUS, "m?x=1")),
        (b"/v1/models/a%2Fb%3A", Route(Verb.STATUS, "a/b:")),
        (b"/v1/models", MISSING),
        (b"/v1/models/versions/1", MISSING),
        (b"/v1/models/versions/1/metadata", MISSING),
        (b"/v1/models/labels/x", MISSING),
        (b"/v1/models/", MALFORMED),
        (b"/v1/models/m/", MALFORMED),
        (b"/v1/models/m/versions/x", MALFORMED),
        (b"/v1/models/m/versions/1/labels/x", MALFORMED),
        (b"/v1/models/m/labels/", MALFORMED),
        (b"/v1/models/debug/model_name", MALFORMED),
        (b"/v1/models/m:predict", MALFORMED),
        (b"/v1/models/m/metadata?x", MALFORMED),
        (b"/v1/", MALFORMED),
        (b"/v1/modelsm", MALFORMED),
    ],
)
def test_what_a_get_means(target: bytes, expected: Route) -> None:
    assert route(b"GET", target) == expected


@pytest.mark.parametrize("target", [b"/", b"/v2/models/m", b"/v1", b"/v1models", b"*", b""])
def test_what_is_not_under_v1_is_outside_for_every_method(target: bytes) -> None:
    for method in (b"GET", b"POST", b"OPTIONS", b"PUT"):
        assert route(method, target).verb is Verb.OUTSIDE


@pytest.mark.parametrize("method", [b"PUT", b"DELETE", b"PATCH", b"HEAD", b"get", b""])
def test_every_other_method_is_malformed(method: bytes) -> None:
    assert route(method, b"/v1/models/m") == MALFORMED
    assert route(method, b"/v1/models/m:predict") == MALFORMED


@pytest.mark.parametrize(
    ("digits", "version"),
    [
        (b"9223372036854775807", 2**63 - 1),
        (b"9223372036854775808", None),
        (b"18446744073709551615", None),
        (b"9" * 10_000, None),
        (b"00000123", 123),
        (b"0" * 10_000 + b"123", 123),
        (b"0" * 10_000, 0),
    ],
    ids=["largest", "too large", "uint64", "no end", "zeros", "many zeros", "only zeros"],
)
def test_a_version_must_fit_64_bits(digits: bytes, version: int | None) -> None:
    post = route(b"POST", b"/v1/models/m/versions/" + digits + b":predict")
    get = route(b"GET", b"/v1/models/m/versions/" + digits)
    if version is None:
        assert post.verb is get.verb is Verb.VERSION_OVERFLOW
    else:
        assert post == inference(Verb.PREDICT, "m", version)
        assert get == Route(Verb.STATUS, "m", version)


RESERVED = b"!#$&'()*+,/:;=?@[]% \"<>\\^`{|}~-._"


def test_names_and_labels_may_hold_every_reserved_character_encoded() -> None:
    encoded = b"".join(b"%%%02x" % byte for byte in RESERVED)
    name = RESERVED.decode()
    target = b"/v1/models/" + encoded + b"/labels/" + encoded
    assert route(b"GET", target) == Route(Verb.STATUS, name, None, name)
    assert route(b"POST", target + b":predict") == inference(Verb.PREDICT, name, None, name)
