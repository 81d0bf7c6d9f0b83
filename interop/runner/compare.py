"""Compare results with recorded values, and with what deviations.json says instead."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Case", "Described", "Deviation", "InNormalForm", "failures_of"]

Described = Callable[[Any, Any], bool]
"""Judges a result, given the recorded value, where a deviation describes ours in words."""


@dataclass(frozen=True)
class Case:
    """One recorded case."""

    name: str
    inputs: dict[str, Any]
    expected: Any


@dataclass(frozen=True)
class Deviation:
    """One entry of deviations.json."""

    step: int | None
    ours: Any
    may: bool = False
    rest: bool = False
    ignore: tuple[str, ...] = field(default=())

    @classmethod
    def from_entry(cls, entry: dict[str, Any]) -> "Deviation":
        """The entry as it stands in the file."""
        ignore = tuple(entry.get("ignore", ()))
        return cls(entry["step"], entry["ours"], entry.get("may", False), entry.get("rest", False), ignore)


@dataclass
class StepResults:
    """
    Results of a case with steps.

    Attributes:
        steps: One for each step.
        others: The members of ``expected`` beside ``steps``.
        normal_form: Brings a recorded or own step into the form in which they are compared.
        described: Judges a step for which the deviation is a text.
    """

    steps: list[Any]
    others: dict[str, Any] = field(default_factory=dict)
    normal_form: Callable[[Any], Any] = staticmethod(lambda value: value)
    described: Described | None = None


@dataclass(frozen=True)
class InNormalForm:
    """
    Result of a case whose recorded value is brought into the form of ours before they are compared.

    Attributes:
        value: Ours; a deviation is compared with it as it stands.
        normal_form: Of the recorded value.
    """

    value: Any
    normal_form: Callable[[Any], Any]


def failures_of(case: Case, result: Any, deviations: list[Deviation]) -> list[tuple[str, Any, Any]]:
    """(where, expected, got) of all that differs; empty where the case passed."""
    if isinstance(result, StepResults):
        return _step_failures(case, result, deviations)
    expected = case.expected
    if isinstance(result, InNormalForm):
        result, expected = result.value, result.normal_form(expected)
    for deviation in deviations:
        if deviation.step is None and not isinstance(deviation.ours, str):
            if _equal(deviation.ours, result):
                return []
            if not deviation.may:
                return [("", deviation.ours, result)]
    return [] if _equal(expected, result) else [("", expected, result)]


def _step_failures(case: Case, result: StepResults, deviations: list[Deviation]) -> list[tuple[str, Any, Any]]:
    failures = []
    recorded = case.expected["steps"]
    if len(recorded) != len(result.steps):
        return [("", f"{len(recorded)} steps", f"{len(result.steps)} steps")]
    for index, (expected, got) in enumerate(zip(recorded, result.steps, strict=True)):
        here = [deviation for deviation in deviations if deviation.step in (index, None)]
        if not _step_matches(result, expected, got, here):
            shown = _must(expected, here) if isinstance(expected, dict) else expected
            failures.append((f"step {index}: ", *_difference(result.normal_form(shown), result.normal_form(got))))
            break  # later steps follow from this one
        if any(deviation.rest for deviation in here if deviation.step == index):
            return failures
    for name, value in result.others.items():
        if not failures and not _equal(case.expected[name], value):
            failures.append((f"{name}: ", *_difference(case.expected[name], value)))
    return failures


def _step_matches(result: StepResults, expected: Any, got: Any, deviations: list[Deviation]) -> bool:
    texts = [deviation for deviation in deviations if isinstance(deviation.ours, str)]
    values = [deviation for deviation in deviations if not isinstance(deviation.ours, str)]
    ignore = tuple(name for deviation in deviations for name in deviation.ignore)
    normal = result.normal_form
    for chosen in _choices(values):
        if _equal(normal(_must(expected, chosen)), normal(got), ignore):
            return True
    return any(result.described is not None and result.described(_must(expected, values), got) for _ in texts)


def _choices(deviations: list[Deviation]) -> list[list[Deviation]]:
    """All combinations with the binding ones in, and each other one in or out."""
    choices: list[list[Deviation]] = [[]]
    for deviation in deviations:
        choices = [[*chosen, deviation] for chosen in choices] + (choices if deviation.may else [])
    return choices


def _must(expected: Any, deviations: list[Deviation]) -> Any:
    """The recorded step with the members that deviations change."""
    for deviation in deviations:
        if isinstance(deviation.ours, dict) and isinstance(expected, dict):
            expected = {**expected, **deviation.ours}
        elif not isinstance(deviation.ours, str):
            expected = deviation.ours
    return expected


def _equal(expected: Any, got: Any, ignore: tuple[str, ...] = ()) -> bool:
    """Equal, where an expected ``{"error": null}`` means an error of any kind."""
    if isinstance(expected, dict) and isinstance(got, dict):
        if "error" in expected and expected["error"] is None and "error" in got:
            return all(_equal(value, got.get(key)) for key, value in expected.items() if key != "error" and key in got)
        if expected.keys() - set(ignore) != got.keys() - set(ignore):
            return False
        return all(_equal(value, got[key]) for key, value in expected.items() if key not in ignore)
    if isinstance(expected, list) and isinstance(got, list):
        return len(expected) == len(got) and all(_equal(a, b) for a, b in zip(expected, got, strict=True))
    return type(expected) is type(got) and bool(expected == got)


def _difference(expected: Any, got: Any) -> tuple[Any, Any]:
    """The first place where two values differ, to keep the message short."""
    if isinstance(expected, dict) and isinstance(got, dict):
        for key in sorted(expected.keys() | got.keys()):
            if not _equal(expected.get(key), got.get(key)) or (key in expected) != (key in got):
                below = _difference(expected.get(key), got.get(key))
                return {key: below[0]}, {key: below[1]}
    if isinstance(expected, list) and isinstance(got, list) and len(expected) == len(got):
        for a, b in zip(expected, got, strict=True):
            if not _equal(a, b):
                return _difference(a, b)
    return expected, got
