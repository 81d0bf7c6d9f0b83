"""The table in docs/security.md: every defect once, and every test that it names is there."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
LISTED = ROOT / "docs" / "protocol" / "11-known-defects.md"
TABLE = ROOT / "docs" / "security.md"


def _numbers(path: Path) -> list[int]:
    return [int(number) for number in re.findall(r"^\| D(\d+) \|", path.read_text(), re.MULTILINE)]


def test_every_defect_stands_there_once() -> None:
    """In the order of the list."""
    assert _numbers(TABLE) == _numbers(LISTED)
    assert len(_numbers(LISTED)) == 105


def test_every_test_that_is_named_exists() -> None:
    """A renamed or removed test is noticed."""
    named = re.findall(r"`((?:packages|interop)/[\w/-]+\.py)::(\w+)`", TABLE.read_text())
    assert len(named) > 90
    for file, test in named:
        functions = {
            node.name
            for node in ast.walk(ast.parse((ROOT / file).read_text()))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert test in functions, f"{file}::{test}"
