"""What a scan found."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from salver.scanning.rules import RULES, Severity

__all__ = ["Allowance", "Finding", "Report", "Severity"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a model can do, or that cannot be told."""

    rule: str
    """A name in `RULES`."""
    where: str
    """The file, relative to what was scanned, and the place in it."""
    what: str
    subject: str
    """What the rule is about, for `Allowance`: an operation, an imported name, a file."""
    reason: str = ""
    """Why it matters; empty: what the rule says."""
    more: int = 0
    """So many like it were found in the same file."""

    @property
    def severity(self) -> Severity:
        """That of the rule."""
        return RULES[self.rule].severity

    @property
    def why(self) -> str:
        """One sentence."""
        return self.reason or RULES[self.rule].why

    @property
    def advice(self) -> str:
        """What to do about it."""
        return RULES[self.rule].advice

    def line(self) -> str:
        """All of it on one line."""
        more = f" (and {self.more} more like it)" if self.more else ""
        advice = f"; {self.advice}" if self.advice else ""
        return _printable(
            f"{self.severity.name.lower():<6} {self.rule}: {self.where}: {self.what}{more}; "
            f"{self.why}{advice}"
        )


@dataclass(frozen=True, slots=True)
class Allowance:
    """What the operator lets through: a whole rule, or one subject of it."""

    rule: str
    subject: str = ""

    @classmethod
    def of(cls, text: str) -> "Allowance":
        """Read `RULE` or `RULE:SUBJECT`.

        Raises:
            ValueError: there is no such rule; the text names those that there are.
        """
        rule, _, subject = text.partition(":")
        if rule not in RULES:
            close = difflib.get_close_matches(rule, RULES, n=1)
            known = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(RULES)}"
            raise ValueError(f"there is no rule {rule!r}; {known}")
        return cls(rule, subject)

    def covers(self, finding: Finding) -> bool:
        """Whether the finding is let through."""
        return self.rule == finding.rule and self.subject in ("", finding.subject)


@dataclass(frozen=True, slots=True)
class Report:
    """All of one folder or file."""

    path: str
    findings: Sequence[Finding]
    """Those that count, the gravest first."""
    notes: Sequence[Finding]
    """What is good to know."""
    allowed: Sequence[Finding]
    """What the operator has let through."""
    files: int
    """So many were looked at, members of archives included."""

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found that counts."""
        return not self.findings


def report_of(
    path: str, found: Iterable[Finding], files: int, allowances: Sequence[Allowance]
) -> Report:
    """Put like findings together, sort them, and part them."""
    together: dict[tuple[str, str, str, str], Finding] = {}
    for finding in found:
        key = (finding.rule, finding.where.partition(": ")[0], finding.subject, finding.reason)
        first = together.get(key)
        together[key] = finding if first is None else replace(first, more=first.more + 1)
    ordered = sorted(together.values(), key=lambda each: -each.severity)
    allowed = [each for each in ordered if any(it.covers(each) for it in allowances)]
    rest = [each for each in ordered if each not in allowed]
    return Report(
        path,
        [each for each in rest if each.severity > Severity.NOTE],
        [each for each in rest if each.severity == Severity.NOTE],
        allowed,
        files,
    )


def _printable(text: str) -> str:
    """Names in a hostile file must not move the cursor, or pretend to be another line."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
