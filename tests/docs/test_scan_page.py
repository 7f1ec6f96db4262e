"""docs/scan.md against the rules."""

import re
from pathlib import Path

from salver.scanning.rules import RULES

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "scan.md").read_text()


def test_the_table_has_every_rule_as_it_is() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (\w+) \| (.*) \|$", PAGE, re.MULTILINE)
    assert rows == [(name, rule.severity.name.lower(), rule.why) for name, rule in RULES.items()]
