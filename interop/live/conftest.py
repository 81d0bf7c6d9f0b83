"""
What the live suite needs: the original's programs, records on request, and the matrix that it prints.

With pytest-xdist, ``-n 2 --dist loadgroup`` does two castings at a time. With pytest-rerunfailures, ``--reruns 1``
tries a step that failed once more, in a network that works; the matrix says so, and what happened at first. Originals
among themselves fail now and then at what they pass at all other times.
"""

import datetime
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import pytest

from interop.live.castings import CASTINGS, Casting
from interop.live.matrix import Matrix, Outcome, Result, format_head
from interop.live.rows import Row
from interop.live.steps import EXPECTATIONS, STEPS, Expectation, Step, expectation_of, has_part
from interop.network import Network
from interop.programs import ORIGINAL_VARIABLE, OURS, Implementation, MissingPrograms, find_original
from interop.recorder import Recorder

STEP_SECONDS: Final = 600.0
EXPECTED_SECONDS: Final = 60.0
"""For a step that fails each time: it is not worth more."""

PATIENCE: Final = 100.0
EXPECTED_PATIENCE: Final = 20.0
"""
Seconds of waiting for one thing in a step, and in one that fails each time.

A node of the original needs up to 64 ticks until it gives up a link whose other end is gone, and dials again 8 later.
"""

HAPPENED_CHARS_MAX: Final = 200

BECAUSE: Final = "a step that this one stands on has failed: "
OUTCOME: Final = "outcome in the matrix"
PACKAGES: Final = ("proto", "crypto", "funder", "relay", "index", "node", "ctrl")

_MATRIX: Final = Matrix([casting.name for casting in CASTINGS], list(STEPS))
_STARTED: Final = time.time()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of this suite."""
    parser.addoption("--record", type=Path, help="Write down what passes on each decrypted link, in this directory.")
    parser.addoption("--matrix", type=Path, help="Write the matrix to this file as well.")
    parser.addoption("--every-step", action="store_true", help="Try also the steps that only ours can do.")


def pytest_configure(config: pytest.Config) -> None:
    """The marker of the steps of the matrix."""
    config.addinivalue_line("markers", "step(name): a step of the matrix; {parameters} of the test in its name")


def step_of(item: pytest.Item) -> Step | None:
    """The step of the matrix that a test is, if it is one."""
    marker = item.get_closest_marker("step")
    if marker is None:
        return None
    parameters: dict[str, Any] = item.callspec.params  # type: ignore[attr-defined]
    return STEPS[marker.args[0].format(**parameters)]


def casting_of(item: pytest.Item) -> Casting:
    """The casting in which a step is done."""
    casting: Casting = item.callspec.params["row"]  # type: ignore[attr-defined]
    return casting


def expectation(item: pytest.Item) -> Expectation | None:
    """Why a step is expected to fail, if it is."""
    step = step_of(item)
    return None if step is None else expectation_of(casting_of(item).name, step.name)


def _is_hopeless(item: pytest.Item) -> bool:
    expected = expectation(item)
    return expected is not None and expected.is_certain


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what shows nothing, and mark what is expected to fail; without the original say so of every test."""
    live = [item for item in items if Path(__file__).parent in item.path.parents or step_of(item) is not None]
    idle = {item for item in live if (step := step_of(item)) is not None and not has_part(casting_of(item), step)}
    items[:] = [item for item in items if item not in idle]
    config.hook.pytest_deselected(items=list(idle))
    try:
        reason = None
        if find_original() is None:
            reason = f"{ORIGINAL_VARIABLE} does not name a directory with the original's programs"
    except MissingPrograms as error:
        raise pytest.UsageError(str(error)) from None
    every: bool = config.getoption("--every-step")
    for item in live:
        if config.pluginmanager.hasplugin("xdist") and step_of(item) is not None:
            item.add_marker(pytest.mark.xdist_group(casting_of(item).name))
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=reason))
        elif (expected := expectation(item)) is not None and not expected.is_tried and not every:
            item.add_marker(pytest.mark.skip(reason=expected.reason))


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


@pytest.fixture
def chain(request: pytest.FixtureRequest, row: Row[Network]) -> Network:
    """The network for one step, which works before it."""
    step = step_of(request.node)
    assert step is not None
    obstacle = row.obstacle(step.stands_on)
    if obstacle is not None:
        pytest.skip(BECAUSE + obstacle)
    network = row.network()
    network.patience = EXPECTED_PATIENCE if _is_hopeless(request.node) else PATIENCE
    return network


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the body once it has taken so long, and again where that is caught in it."""

    def end(*_: object) -> None:
        raise TimeoutError(f"the step took more than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds, 5)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """No step waits for ever."""
    if step_of(item) is None:
        yield
        return
    with _limited(EXPECTED_SECONDS if _is_hopeless(item) else STEP_SECONDS):
        yield


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Tell the row of a failure, whether it was expected or not, and send with each report what it is in the matrix."""
    wrapped: Any = yield
    report: pytest.TestReport = wrapped.get_result()
    step, expected = step_of(item), expectation(item)
    if step is None:
        file = item.path.stem.removeprefix("test_").replace("_", " ")
        where = file, item.name.removeprefix("test_").replace("_", " ")
    else:
        where = casting_of(item).name, step.name
        row = getattr(item, "funcargs", {}).get("row")
        if report.failed:
            _judge(report, step.name, expected, row)
        elif report.passed and report.when == "call" and row is not None:
            row.note_success(step.name)
    outcome, why = _outcome(report, expected)
    report.user_properties.append((OUTCOME, (*where, outcome.name, report.duration, why)))


def _judge(report: pytest.TestReport, step: str, expected: Expectation | None, row: Row[Any] | None) -> None:
    """Note a failure; where it is the expected one, turn the report into that of an expected failure."""
    network = None if row is None else row.last
    if row is not None:
        report.sections.append(("network of the step", str(getattr(network, "directory", None))))
        row.note_failure(step)
    if expected is not None and report.when == "call" and (not expected.sign or _has_sign(network, expected.sign)):
        report.outcome = "skipped"
        report.wasxfail = expected.reason


def _has_sign(network: Network | None, sign: str) -> bool:
    """Whether a program of the original has written the sign into its log."""
    servers = [] if network is None else network.servers.values()
    logs = [server.log for server in servers if network is not None and network.cast.of(server.name).name == "original"]
    return any(sign in log.read_text(errors="replace") for log in logs)


def _outcome(report: pytest.TestReport, expected: Expectation | None) -> tuple[Outcome, str]:
    """What a report says, and why."""
    why = "" if expected is None else expected.reason
    if report.failed:
        return Outcome.FAILED, _what_happened(report)
    if report.skipped and hasattr(report, "wasxfail"):
        return Outcome.EXPECTED, why
    if report.skipped:
        said = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else ""
        if BECAUSE in said:
            return Outcome.SKIPPED, said.partition(BECAUSE)[2]
        return Outcome.ONLY_OURS, why
    if report.when != "call":
        return Outcome.BEGUN, ""
    if expected is not None and expected.is_certain:
        return Outcome.BETTER, why
    return Outcome.PASSED, ""


def _what_happened(report: pytest.TestReport) -> str:
    """The first line of an error, without directories of this machine."""
    crash = getattr(report.longrepr, "reprcrash", None)
    line = next(iter(getattr(crash, "message", "").splitlines()), "")
    return re.sub(r"/[^\s',\]]*/", "", line)[:HAPPENED_CHARS_MAX]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note each phase of each test in the matrix, also of a test that another process has run."""
    properties: list[tuple[str, Any]] = report.user_properties
    for name, value in properties:
        if name == OUTCOME:
            is_first = str(report.outcome) == "rerun"  # by pytest-rerunfailures
            where, step, outcome, seconds, why = value
            _MATRIX.add(Result(where, step, Outcome.AGAIN if is_first else Outcome[outcome], seconds, why))
    properties[:] = [pair for pair in properties if pair[0] != OUTCOME]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the matrix, and write it where it is wanted."""
    found = find_original()
    if found is None:
        return
    when = datetime.datetime.fromtimestamp(_STARTED, tz=datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    versions = {f"offset-{name}": version(f"offset-{name}") for name in PACKAGES}
    known = [f"{', '.join(one.steps)} ({', '.join(one.castings)}): {one.reason}" for one in EXPECTATIONS]
    text = _MATRIX.text(format_head(when, time.time() - _STARTED, [found, OURS], versions), known)
    terminalreporter.write_line(text)
    path: Path | None = config.getoption("--matrix")
    if path is not None:
        path.write_text(text)
