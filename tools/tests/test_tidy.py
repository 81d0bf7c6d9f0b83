"""The checks of tools/tidy.py find what they are there to find."""

from pathlib import Path

import pytest

import tidy

ROOM = '''"""
A room.

===========  ==========================
`a`, `b`     engines
`c`          shell
===========  ==========================

May import: `somewhere.else`.
"""
'''


def test_a_right_docstring_has_no_findings() -> None:
    """All modules are named, and all names are modules."""
    assert not list(tidy.check_package_docstring("room", ROOM, {"a", "b", "c"}))


@pytest.mark.parametrize(
    ("modules", "finding"),
    [
        ({"a", "b", "c", "d"}, "room: the docstring does not name the module `d`"),
        ({"a", "c"}, "room: the docstring names `b`, and there is no such module"),
    ],
)
def test_a_wrong_docstring_is_found(modules: set[str], finding: str) -> None:
    """A module that is not named, and a name that is no module."""
    assert list(tidy.check_package_docstring("room", ROOM, modules)) == [finding]


def test_lengths() -> None:
    """A function of 71 lines and a module of 401; one that may be long, and is not."""
    function = "def f():\n" + "    x = 1\n" * 70
    assert list(tidy.check_lengths("m.py", function)) == ["m.py:1: f has 71 lines, at most 70"]
    assert list(tidy.check_lengths("m.py", function.replace("    x = 1\n", "", 1))) == []
    assert list(tidy.check_lengths("m.py", "x = 1\n" * 401)) == ["m.py: 401 lines, at most 400"]
    may_be_long = next(iter(tidy.LONG_MODULES))
    assert list(tidy.check_lengths(may_be_long, "x = 1\n" * 401)) == []
    assert list(tidy.check_lengths(may_be_long, "x = 1\n")) == [
        f"{may_be_long}: no longer long, and still in LONG_MODULES"
    ]


def test_modules_of(tmp_path: Path) -> None:
    """Old names, private modules and folders without code do not count."""
    (tmp_path / "room").mkdir()
    (tmp_path / "data").mkdir()
    for name in ("__init__", "_private", "a", "room/__init__"):
        (tmp_path / f"{name}.py").write_text('"""What it is."""\n')
    (tmp_path / "old.py").write_text('"""The name that `room.new` had in 0.1; works until 1.0."""\n')
    assert tidy.modules_of(tmp_path) == {"a", "room"}


def test_a_skeleton_without_its_parts(tmp_path: Path) -> None:
    """An empty folder lacks everything that a distribution has."""
    findings = list(tidy.check_skeleton(tmp_path))
    assert len(findings) == len(tidy.SKELETON) + 2
