"""The live suite where the original's programs are not there; and its bookkeeping, with no program at all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from interop.live.castings import CASTINGS
from interop.live.matrix import Matrix, Outcome, Result, format_head
from interop.live.rows import Row
from interop.live.steps import EXPECTATIONS, STEPS, has_part
from interop.programs import OURS

LIVE = Path(__file__).parent.parent / "live"


def _run(directory: Path = LIVE, *options: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {key: value for key, value in os.environ.items() if key != "OFFSET_RUST_BIN"} | variables
    command = [sys.executable, "-m", "pytest", "-p", "no:randomly", "-rs", str(directory), *options]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, cwd=LIVE.parent.parent)


def test_without_the_original() -> None:
    """Every test is skipped, with the reason; none passes."""
    result = _run()
    assert result.returncode == 0
    assert "OFFSET_RUST_BIN does not name a directory" in result.stdout
    assert " passed" not in result.stdout


def test_an_incomplete_directory(tmp_path: Path) -> None:
    """A mistaken directory is an error, not a reason to skip."""
    result = _run(OFFSET_RUST_BIN=str(tmp_path))
    assert result.returncode != 0
    assert "no program stnode, strelay" in result.stdout + result.stderr
    assert "skipped" not in result.stdout


SMALL_CONFTEST = """
import interop.live.steps
from interop.live.conftest import *
from interop.live.steps import Expectation

interop.live.steps.EXPECTATIONS[:] = [
    Expectation(("disabled and enabled", "parted friends"), ("all original",), "D23: twice at once"),
    Expectation(("kill A",), ("all original",), "D7: never again", is_tried=False),
    Expectation(("last token",), ("all original",), "D8: not so", sign="no log has this"),
    Expectation(("too little credit",), ("all original",), "D9: at times", is_certain=False),
]
"""
FAKE_ROW = """
import pytest
from interop.live.castings import CASTINGS
from interop.live.rows import Row

class FakeNetwork:
    is_whole, servers = True, {}
    def stop(self):
        pass

@pytest.fixture(scope="module", params=CASTINGS[:1], ids=["all original"])
def row():
    return Row(FakeNetwork, lambda network: network.is_whole)
"""
SMALL_SUITE = (
    FAKE_ROW
    + """
@pytest.mark.step("set up")
def test_set_up(row):
    row.network()

@pytest.mark.step("{hops}")
@pytest.mark.parametrize("hops", ["1 hop", "3 hops"])
def test_payment(row, chain, hops):
    chain.is_whole = False
    assert hops == "1 hop"

@pytest.mark.step("back")
def test_back(chain):
    raise AssertionError("stands on a step that failed")

@pytest.mark.step("2 hops")
def test_two_hops(row, chain):
    assert chain.is_whole
    assert row.made == 2
    assert chain.patience > 30

@pytest.mark.step("kill {victim}")
@pytest.mark.parametrize("victim", ["A"])
def test_kill(row, victim):
    raise AssertionError("only ours can do it")

@pytest.mark.step("disabled and enabled")
def test_disabled(row):
    raise AssertionError("as expected")

@pytest.mark.step("parted friends")
def test_parted(row):
    pass

@pytest.mark.step("last token")
def test_last_token(row):
    raise AssertionError("not the expected failure")

@pytest.mark.step("too little credit")
def test_too_little(row):
    pass
"""
)


def test_a_failed_step(tmp_path: Path) -> None:
    """What stands on it is skipped by its name, the rest gets a new network; what is expected is not unexpected."""
    (tmp_path / "conftest.py").write_text(SMALL_CONFTEST)
    (tmp_path / "test_small.py").write_text(SMALL_SUITE)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\n")
    matrix = tmp_path / "matrix.md"
    result = _run(tmp_path, "--matrix", str(matrix), OFFSET_RUST_BIN=str(OURS.directory))
    assert result.returncode == 1, result.stdout
    lines = matrix.read_text().splitlines()
    assert lines[0].startswith("Run on 20")
    columns, _, row = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| "))
    cells = {name: cell.removesuffix(" 0 s") for name, cell in zip(columns, row, strict=True)}
    assert cells == {
        "casting": "all original",
        "set up": "passed",
        "1 hop": "passed",
        "2 hops": "passed",
        "3 hops": "FAILED [1]",
        "back": "skipped because of 3 HOPS",
        "too little credit": "passed",
        "last token": "FAILED [4]",
        "kill A": "only ours [2]",
        "disabled and enabled": "expected failure [3]",
        "parted friends": "passed, although expected to fail [3]",
        "seconds": "0",
    }
    text = matrix.read_text()
    assert "[2] D7: never again" in text
    assert "[3] D23: twice at once" in text
    failed = [
        "3 hops: FAILED: AssertionError: assert '3 hops' == '1 hop'",
        "last token: FAILED: AssertionError: not the expected failure",
    ]
    assert text.endswith("Unexpected:\n\n" + "".join(f"* all original, {line}\n" for line in failed))
    better = "* all original, parted friends: passed, although expected to fail: D23: twice at once\n"
    assert better in text


SHAKY_SUITE = (
    FAKE_ROW
    + """
@pytest.mark.step("{hops}")
@pytest.mark.parametrize("hops", ["1 hop", "3 hops"])
def test_payment(row, chain, hops):
    if hops == "1 hop" and row.made == 1:
        chain.is_whole = False
        raise TimeoutError("waited 5 s for: /some/where/A.friend")
    assert hops == "1 hop"

@pytest.mark.step("back")
def test_back(row, chain):
    assert row.made == 2
"""
)


def test_a_step_that_fails_once(tmp_path: Path) -> None:
    """It is tried again in another network, and what stands on it is tried; the table tells, and names no directory."""
    (tmp_path / "conftest.py").write_text(SMALL_CONFTEST)
    (tmp_path / "test_small.py").write_text(SHAKY_SUITE)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\n")
    matrix = tmp_path / "matrix.md"
    result = _run(tmp_path, "--reruns", "1", "--matrix", str(matrix), OFFSET_RUST_BIN=str(OURS.directory))
    assert result.returncode == 1, result.stdout
    text = matrix.read_text()
    assert "| passed at the second attempt [1] 0 s | FAILED [2] 0 s | skipped because of 3 HOPS |" in text
    again = "1 hop: passed at the second attempt: TimeoutError: waited 5 s for: A.friend"
    assert f"Failed once:\n\n* all original, {again}\n" in text


def test_matrix() -> None:
    """The phases of a step are one result: the worst of them, and all their seconds."""
    matrix = Matrix(["mixed"], ["set up", "back"])
    matrix.add(Result("mixed", "back", Outcome.PASSED, 2.0))
    matrix.add(Result("mixed", "back", Outcome.EXPECTED, 3.0, "D1: short"))
    matrix.add(Result("mixed", "back", Outcome.PASSED, 1.0))
    matrix.add(Result("relays", "payloads", Outcome.PASSED, 0.6))
    assert matrix.results["mixed", "back"] == Result("mixed", "back", Outcome.EXPECTED, 6.0, "D1: short")
    head = format_head("today", 90, [], {"offset-node": "0.2.0"})
    assert matrix.text(head).splitlines() == [
        "Run on today in 1.5 minutes",
        "",
        "* versions of ours: offset-node 0.2.0",
        "",
        "| casting | back | seconds |",
        "| --- | --- | --- |",
        "| mixed | expected failure [1] 6 s | 6 |",
        "",
        "A dash: who differs in this casting has no part in the step.",
        "",
        "| tests | what | outcome |",
        "| --- | --- | --- |",
        "| relays | payloads | passed 1 s |",
        "",
        "[1] D1: short  ",
        "",
        "Nothing unexpected.",
    ]


class _FakeNetwork:
    def __init__(self) -> None:
        self.is_whole = True
        self.is_stopped = False

    def stop(self) -> None:
        self.is_stopped = True


def test_networks_of_a_row() -> None:
    """A step that failed costs a new network only where it has left the old one broken."""
    row = Row(_FakeNetwork, lambda network: network.is_whole)
    first = row.network()
    first.is_whole = False
    assert row.network() is first, "no step has failed, so nobody looked"
    first.is_whole = True
    row.note_failure("closed and opened")
    assert row.network() is first
    first.is_whole = False
    row.note_failure("parted friends")
    assert row.network() is not first
    assert (first.is_stopped, row.made) == (True, 2)
    assert row.obstacle(["set up", "3 hops"]) is None
    assert row.obstacle(["set up", "parted friends"]) == "parted friends"


def test_a_network_that_can_not_be_made() -> None:
    """Nothing is left of it, and the next step may try again."""

    def make() -> _FakeNetwork:
        raise TimeoutError

    row = Row(make, lambda network: network.is_whole)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            row.network()
    assert row.made == 0


def test_tables() -> None:
    """Whatever an expectation names is there, and is tried where somebody who differs has a part in it."""
    castings = {casting.name: casting for casting in CASTINGS}
    for expected in EXPECTATIONS:
        for casting in expected.castings:
            for step in expected.steps:
                assert has_part(castings[casting], STEPS[step]), f"{casting}, {step}"
    for column in STEPS.values():
        assert set(column.stands_on) < set(STEPS)
