import re
from pathlib import Path

import pytest

from salver.config.declaration import Declaration, Effect, Origin
from salver.config.flags import DECLARATIONS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "migration.md").read_text()
FLAGS = PAGE.split("## Flags")[1].split("## Config files")[0]
ORIGINAL = [declared for declared in DECLARATIONS if declared.origin is not Origin.SALVER]


def verdict_of(name: str) -> str:
    [row] = [line for line in FLAGS.splitlines() if f"`{name}`" in line and line.startswith("|")]
    return row.split("|")[2].strip()


@pytest.mark.parametrize("declared", ORIGINAL, ids=lambda declared: declared.name)
def test_every_flag_of_the_original_has_a_verdict_that_is_true(declared: Declaration) -> None:
    effect = declared.effect
    verdict = verdict_of(declared.name)
    if effect is Effect.REFUSED:
        assert verdict == "not supported"
    elif verdict == "nothing to do":
        assert effect is Effect.MEANINGLESS
    else:
        assert verdict in ("same", "better")
        assert effect is not Effect.NOT_YET


def test_no_flag_is_made_up() -> None:
    named = set(re.findall(r"^\| (`.*?) \|", FLAGS, re.M))
    names = {name for cell in named for name in re.findall(r"`(\w+)`", cell)}
    assert names == {declared.name for declared in ORIGINAL}
