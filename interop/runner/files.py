"""Find the files of a directory, run their cases, compare, count. Spec: the README.md beside the vectors."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from interop.runner import capnp, crypto, funder, routes, secure_channel, signature, texts
from interop.runner.compare import Case, Deviation, failures_of

__all__ = ["run_directory"]

Run = Callable[[Case], Any]

_INDEPENDENT: dict[str, Callable[[dict[str, Any]], Any]] = {
    **crypto.RUNS,
    **signature.RUNS,
    **capnp.RUNS,
    **texts.RUNS,
    **routes.RUNS,
}


def _independent(run: Callable[[dict[str, Any]], Any]) -> Run:
    return lambda case: run(case.inputs)


RUNS: dict[str, Run] = {
    **{name: _independent(run) for name, run in _INDEPENDENT.items()},
    **signature.JUDGES,
    **capnp.JUDGES,
    **texts.JUDGES,
    **funder.JUDGES,
    **routes.JUDGES,
    **secure_channel.JUDGES,
}
"""What carries out the cases of each file; the result has the shape of ``expected``."""


def run_directory(directory: Path) -> tuple[int, int]:
    """Run every file below *directory*; returns how many cases passed and failed."""
    deviations = _load_deviations(directory / "deviations.json")
    passed = failed = 0
    for path in sorted(directory.rglob("*.json")):
        name = path.relative_to(directory).as_posix()
        if name != "deviations.json":
            good, bad = _run_file(name, path, deviations.get(name, {}))
            passed, failed = passed + good, failed + bad
    return passed, failed


def _load_deviations(path: Path) -> dict[str, dict[str, list[Deviation]]]:
    deviations: dict[str, dict[str, list[Deviation]]] = {}
    if path.exists():
        for entry in json.loads(path.read_text())["cases"]:
            by_case = deviations.setdefault(entry["file"], {})
            by_case.setdefault(entry["case"], []).append(Deviation.from_entry(entry))
    return deviations


def _run_file(name: str, path: Path, deviations: dict[str, list[Deviation]]) -> tuple[int, int]:
    run = RUNS.get(name)
    if run is None:
        print(f"{name}: a kind of file that is not known")
        return 0, 1
    try:
        cases = [
            Case(entry["name"], entry["inputs"], entry["expected"]) for entry in json.loads(path.read_text())["cases"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        print(f"{name}: not a file of vectors: {error!r}")
        return 0, 1
    failures: list[tuple[str, str]] = []
    failed = 0
    for case in cases:
        problems = _run_case(run, case, deviations.get(case.name, []))
        failed += bool(problems)
        failures += [(case.name, problem) for problem in problems]
    print(f"{name}: {len(cases) - failed} passed, {failed} failed")
    for case_name, problem in failures:
        print(f"  {case_name}: {problem}")
    return len(cases) - failed, failed


def _run_case(run: Run, case: Case, deviations: list[Deviation]) -> list[str]:
    try:
        result = run(case)
    except Exception as error:
        return [f"expected {_short(case.expected)}, got {type(error).__name__}: {error}"]
    return [
        f"{where}expected {_short(expected)}, got {_short(got)}"
        for where, expected, got in failures_of(case, result, deviations)
    ]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 600 else text[:600] + "…"
