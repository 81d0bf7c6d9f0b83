"""Manual pages have all that the programs have, and are what the readers of such pages understand."""

import importlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).parents[2]
SECONDS = 60

GROFF, MANDOC = shutil.which("groff"), shutil.which("mandoc")


def _programs() -> dict[str, str]:
    """Every program that a package installs, and the module of its command."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / "packages").glob("*/pyproject.toml")):
        found |= tomllib.loads(path.read_text())["project"].get("scripts", {})
    return {name: place.partition(":")[0] for name, place in found.items()}


PROGRAMS = _programs()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the pages; all are of one day."""
    made = tmp_path_factory.mktemp("man")
    words: list[str | Path] = [sys.executable, ROOT / "tools" / "man_pages.py", made]
    subprocess.run(words, check=True, timeout=SECONDS, env={**os.environ, "SOURCE_DATE_EPOCH": "86400"})
    return made


def _command(name: str) -> click.Command:
    module = importlib.import_module(PROGRAMS[name])
    found = getattr(module, f"_{name}", None) or importlib.import_module(f"{PROGRAMS[name]}.cli").__dict__[f"_{name}"]
    assert isinstance(found, click.Command)
    return found


def _all(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for word, inner in command.commands.items():
            yield from _all(f"{path} {word}", inner)


def test_each_program_has_one(pages: Path) -> None:
    """And nothing else has."""
    assert sorted(path.stem for path in pages.iterdir()) == sorted(PROGRAMS)


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_option_is_there(pages: Path, name: str) -> None:
    """In the part of its command, with what it says of itself."""
    text = (pages / f"{name}.1").read_text().replace("\\-", "-").replace("\\e", "\\").replace("\\&", "")
    assert text.startswith(f'.TH {name.upper()} 1 "1970-01-02" ')
    top, *parts = re.split(r"^\.SS (.*)$", text, flags=re.MULTILINE)
    sections = {name: top, **dict(zip(parts[::2], parts[1::2], strict=True))}
    seen = 0
    for path, command in _all(name, _command(name)):
        if path != name and isinstance(command, click.Group) and not command.invoke_without_command:
            continue  # it does nothing itself
        shown = " ".join(sections[path].split())
        for param in command.params:
            seen += 1
            if isinstance(param, click.Argument):
                assert param.make_metavar(click.Context(command)) in shown
                continue
            assert isinstance(param, click.Option)
            for option in param.opts:
                assert re.search(rf"\.B [^.]*(?<!\S){option}\b", shown), f"{path} {option}"
            assert param.help is not None
            assert " ".join(param.help.split()) in shown
        assert "--help" in shown
    assert seen > 0


@pytest.mark.skipif(GROFF is None, reason="groff is not on this machine")
@pytest.mark.parametrize("name", PROGRAMS)
def test_groff_understands_it(pages: Path, name: str) -> None:
    """With all of its warnings."""
    assert GROFF is not None
    words: list[str | Path] = [GROFF, "-ww", "-Kutf8", "-man", "-Tutf8", pages / f"{name}.1"]
    shown = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "EXIT STATUS" in re.sub(r".\x08|\x1b\[[0-9;]*m", "", shown.stdout)  # bold letters, as either


@pytest.mark.skipif(MANDOC is None, reason="mandoc is not on this machine")
@pytest.mark.parametrize("name", PROGRAMS)
def test_mandoc_finds_nothing(pages: Path, name: str) -> None:
    """Not even style."""
    assert MANDOC is not None
    linted = subprocess.run([MANDOC, "-Tlint", pages / f"{name}.1"], capture_output=True, text=True, timeout=SECONDS)
    assert (linted.returncode, linted.stdout) == (0, "")
