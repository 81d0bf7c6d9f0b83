"""How each step of the live suite ended, and the table that says so."""

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from interop.programs import Implementation

__all__ = ["Matrix", "Outcome", "Result", "format_head"]


class Outcome(enum.Enum):
    """How a step ended."""

    BEGUN = "not finished"
    PASSED = "passed"
    AGAIN = "passed at the second attempt"
    EXPECTED = "expected failure"
    ONLY_OURS = "only ours"
    SKIPPED = "skipped because of"
    BETTER = "passed, although expected to fail"
    FAILED = "FAILED"


_RANK: Final = list(Outcome)
"""A step has several phases, and counts as the worst of them: the later one in this list."""


@dataclass(frozen=True)
class Result:
    """
    How one step ended.

    Attributes:
        row: The casting, or the name of a file of tests that have networks of their own.
        step: What was done.
        outcome: How it ended.
        seconds: What it took, the making of its network included.
        why: The defect and the reason of an expected failure; the step that a skipped one stands on; what happened in
            one that failed, at the first attempt perhaps; else nothing.
    """

    row: str
    step: str
    outcome: Outcome
    seconds: float = 0.0
    why: str = ""

    @property
    def is_unexpected(self) -> bool:
        """Whether somebody has to look at it; what was skipped for its sake is not counted again."""
        return self.outcome is Outcome.FAILED

    def _cell(self, numbers: dict[str, int]) -> str:
        """What stands in the table; reasons stand below it, by number."""
        if self.outcome is Outcome.SKIPPED:
            return f"{self.outcome.value} {self.why.upper()}"
        note = f" [{numbers[self.why]}]" if self.why in numbers else ""
        seconds = "" if self.outcome is Outcome.ONLY_OURS and not self.seconds else f" {self.seconds:.0f} s"
        return f"{self.outcome.value}{note}{seconds}"


@dataclass
class Matrix:
    """
    The results of a run.

    Attributes:
        castings: Rows of the first table, in order.
        steps: Columns of the first table, in order.
        results: By row and step; those of other rows are printed in a second table, one below the other.
    """

    castings: list[str]
    steps: list[str]
    results: dict[tuple[str, str], Result] = field(default_factory=dict)

    def add(self, result: Result) -> None:
        """Note a result; of several for one step the worst counts, and the seconds add up."""
        known = self.results.get((result.row, result.step))
        if known is not None:
            worst = max(known, result, key=lambda one: _RANK.index(one.outcome))
            seconds = known.seconds + result.seconds
            result = Result(result.row, result.step, worst.outcome, seconds, worst.why)
        self.results[result.row, result.step] = result

    def unexpected(self) -> list[Result]:
        """What somebody has to look at."""
        return [result for result in self.results.values() if result.is_unexpected]

    def again(self) -> list[Result]:
        """Steps that failed once, and passed in a network of their own."""
        return [result for result in self.results.values() if result.outcome is Outcome.AGAIN]

    def better(self) -> list[Result]:
        """Steps that passed although they were expected to fail."""
        return [result for result in self.results.values() if result.outcome is Outcome.BETTER]

    def text(self, head: Iterable[str], known: Iterable[str] = ()) -> str:
        """
        The whole report, in Markdown.

        Args:
            head: Lines that stand above the tables.
            known: What the original is known to fail in, one entry each.
        """
        reasons = [result.why for result in self.results.values() if result.outcome is not Outcome.SKIPPED]
        numbers = {why: number for number, why in enumerate(dict.fromkeys(filter(None, reasons)), 1)}
        lines = [*head, "", *self._castings_table(numbers), *self._others_table(numbers)]
        lines += [f"[{number}] {why}  " for why, number in numbers.items()]
        lines += ["", *_entries("Known of the original", list(known))]
        lines += [*_verdict("Failed once", self.again())]
        lines += [*_verdict("Passed, although expected to fail", self.better())]
        lines += _verdict("Unexpected", self.unexpected()) or ["Nothing unexpected."]
        return "\n".join(lines).rstrip("\n") + "\n"

    def _castings_table(self, numbers: dict[str, int]) -> list[str]:
        rows = [row for row in self.castings if any(key[0] == row for key in self.results)]
        steps = [step for step in self.steps if any(key[1] == step for key in self.results)]
        if not rows:
            return []
        lines = [_line(["casting", *steps, "seconds"]), _line(["---"] * (len(steps) + 2))]
        for row in rows:
            found = [self.results.get((row, step)) for step in steps]
            cells = ["–" if result is None else result._cell(numbers) for result in found]
            lines.append(_line([row, *cells, f"{sum(result.seconds for result in found if result):.0f}"]))
        return [*lines, "", "A dash: who differs in this casting has no part in the step.", ""]

    def _others_table(self, numbers: dict[str, int]) -> list[str]:
        others = [result for result in self.results.values() if result.row not in self.castings]
        if not others:
            return []
        lines = [_line(["tests", "what", "outcome"]), _line(["---"] * 3)]
        return [*lines, *(_line([result.row, result.step, result._cell(numbers)]) for result in others), ""]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _verdict(title: str, results: list[Result]) -> list[str]:
    said = [": ".join(filter(None, [f"{one.row}, {one.step}", one.outcome.value, one.why])) for one in results]
    return _entries(title, said)


def _entries(title: str, entries: list[str]) -> list[str]:
    return [f"{title}:", "", *(f"* {entry}" for entry in entries), ""] if entries else []


def format_head(when: str, seconds: float, programs: Iterable[Implementation], versions: dict[str, str]) -> list[str]:
    """
    What stands above the tables: when, how long, and against what exactly.

    Args:
        when: Date and time of the start.
        seconds: Duration of the run.
        programs: The implementations; their programs are named by their hashes.
        versions: Of our packages, by name.
    """
    lines = [f"Run on {when} in {seconds / 60:.1f} minutes", ""]
    for implementation in programs:
        hashes = ", ".join(f"{name} {value}" for name, value in implementation.fingerprints().items())
        lines.append(f"* {implementation.name}, SHA-256: {hashes}")
    lines.append(f"* versions of ours: {', '.join(f'{name} {version}' for name, version in versions.items())}")
    return lines
