"""What the live suite needs: the original's programs, records on request, and the matrix that it prints."""

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interop.programs import ORIGINAL_VARIABLE, Implementation, MissingPrograms, find_original
from interop.recorder import Recorder

_RESULTS: dict[tuple[str, str], tuple[str, float]] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of this suite."""
    parser.addoption("--record", type=Path, help="Write down what passes on each decrypted link, in this directory.")
    parser.addoption("--matrix", type=Path, help="Write the matrix to this file as well.")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without the original nothing can be shown: say so of every test."""
    try:
        if find_original() is not None:
            return
        reason = f"{ORIGINAL_VARIABLE} does not name a directory with the original's programs"
    except MissingPrograms as error:
        raise pytest.UsageError(str(error)) from None
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def original() -> Implementation:
    """The original's programs."""
    found = find_original()
    assert found is not None
    return found


@pytest.fixture(scope="session")
def record_directory(request: pytest.FixtureRequest) -> Path | None:
    """Where records go, if they are wanted."""
    directory: Path | None = request.config.getoption("--record")
    return directory


def open_recorder(directory: Path | None, name: str, identities: Path) -> Recorder | None:
    """A recorder for one network, where records are wanted."""
    return None if directory is None else Recorder(directory / name.replace(" ", "-").replace("'", ""), identities)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Note how each test ended, for the matrix; the set-up counts with the test."""
    outcome: Any = yield
    report = outcome.get_result()
    test, _, row = item.name.partition("[")
    key = (row.rstrip("]") or "-", test.removeprefix("test_"))
    known, seconds = _RESULTS.get(key, ("passed", 0.0))
    _RESULTS[key] = (known if report.passed else report.outcome, seconds + report.duration)


def _matrix(fingerprints: dict[str, str]) -> str:
    """A table in Markdown: a line for each test and row, and what was run."""
    when = datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    lines = [f"Run on {when} against", ""]
    lines += [f"* {name} sha256 {value}…" for name, value in fingerprints.items()]
    lines += ["", "| network | what | outcome | seconds |", "|---|---|---|---|"]
    for (row, test), (outcome, seconds) in sorted(_RESULTS.items()):
        lines.append(f"| {row} | {test.replace('_', ' ')} | {outcome} | {seconds:.1f} |")
    return "\n".join(lines) + "\n"


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the matrix, and write it where it is wanted."""
    found = find_original()
    if found is None:
        return
    text = _matrix(found.fingerprints())
    terminalreporter.write_line(text)
    path: Path | None = config.getoption("--matrix")
    if path is not None:
        path.write_text(text)
