"""What the documentation tells people to type is what the programs and shells take."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tools.man_pages import PROGRAMS, load

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page
    for place in ("*.md", "docs/**/*.md", "packages/*/README.md", "examples/**/*.md", "containers/**/*.md")
    for page in ROOT.glob(place)
)
_COMMANDS = {name: load(place) for name, place in PROGRAMS.items()}
_SHELL_FUNCTION = re.compile(r"^(\w+)\(\) \{ stctrl .*\"\$@\"", re.MULTILINE)
_FUNCTIONS = {name for page in PAGES for name in _SHELL_FUNCTION.findall(page.read_text())}
"""Names that a page gives to stctrl with a directory, such as alice."""

_PLACEHOLDER = re.compile(r"\.\.\.|…|[\[<|{$]|.*[…}]")
"""Where a page leaves the rest to its reader."""


def _typed(page: str) -> Iterator[str]:
    """The commands of a page, each in one line: those of its blocks, and those between its words."""
    for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL):
        yield from block.replace("\\\n", " ").splitlines()
    prose = re.sub(r"```.*?```", "", page, flags=re.DOTALL)
    yield from (" ".join(code.split()) for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose))


def _calls(line: str) -> Iterator[tuple[str, list[str]]]:
    """The programs of ours that a line of shell runs, each with its words."""
    lexer = shlex.shlex(line.replace("\\|", "|"), posix=True, punctuation_chars="();<>|&")
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:  # no line of shell, but a piece of something else
        return
    program, given = "", list[str]()
    is_first = True
    for word in [*words, ";"]:
        name = "stctrl" if word in _FUNCTIONS and is_first else word.rpartition("/")[2]
        is_first = word == "do"
        if set(word) <= set("();<>|&"):
            if program:
                yield program, given
            program, is_first = "", True
        elif program:
            given.append(word)
        elif name in _COMMANDS:
            program, given = name, []


def _complaint(command: click.Command, words: list[str]) -> str | None:
    """What *command* would not take of *words*; None: nothing that can be seen without doing it."""
    options = {name: param for param in command.params for name in (*param.opts, *param.secondary_opts)}
    rest = iter(words)
    for word in rest:
        if _PLACEHOLDER.match(word):
            return None
        if word.startswith("-") and len(word) > 1:
            name, equals, _ = word.partition("=") if word.startswith("--") else (word[:2], word[2:], "")
            if name in ("-h", "--help"):
                continue
            if name not in options:
                return f"{command.name} has no option {name}"
            option = options[name]
            if not equals and isinstance(option, click.Option) and not option.is_flag:
                next(rest, None)
        elif isinstance(command, click.Group):
            if word == "help" or word.isupper():
                return None
            if word not in command.commands:
                return f"{command.name} has no command {word}"
            return _complaint(command.commands[word], list(rest))
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_program_takes_what_a_page_gives_it(page: Path) -> None:
    """Every command and option is there; also those that only stand between words."""
    for line in _typed(page.read_text()):
        for program, words in _calls(line):
            assert _complaint(_COMMANDS[program], words) is None, line


def test_an_option_that_stands_alone_is_one_of_a_program() -> None:
    """In the pages for those who run the programs."""
    options = {"-h", "--help", *(name for command in _COMMANDS.values() for name in _options(command))}
    for page in (ROOT / "docs" / "how-to").glob("*.md"):
        for code in _typed(page.read_text()):
            if re.match(r"-{1,2}[a-z]", code, re.IGNORECASE):
                assert re.split(r"[ =]", code)[0] in options, f"{page.name}: {code}"


def _options(command: click.Command) -> Iterator[str]:
    yield from (name for param in command.params for name in (*param.opts, *param.secondary_opts))
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            yield from _options(inner)


def test_what_is_wrong_is_found() -> None:
    """The checks above can fail."""
    ((program, words),) = _calls("sudo -u x /usr/bin/stctrl -C alice config add-relay -x y > file")
    assert (program, words) == ("stctrl", ["-C", "alice", "config", "add-relay", "-x", "y"])
    assert _complaint(_COMMANDS[program], words) == "add-relay has no option -x"
    assert _complaint(_COMMANDS["stctrl"], ["friend", "marry"]) == "friend has no command marry"
    assert _unquoted("pip install 'offset-ctrl[web]' offset-node[metrics]") == ["offset-node[metrics]"]


_EXTRA = re.compile(r"""(?<![\w'"/.%-])(?:[\w.-]+/)*[\w-]+\[[a-z,]+\]""")


def _unquoted(line: str) -> list[str]:
    """The extras that zsh takes for patterns of file names, for which there are no files."""
    return _EXTRA.findall(line) if "pip install" in line else []


def test_extras_are_quoted() -> None:
    """In pages, messages and container files: what works in bash ends with `no matches found` in zsh."""
    sources = [path for place in ("packages/*/src/**/*.py", "examples/**/*.py") for path in ROOT.glob(place)]
    containers = [path for path in (ROOT / "containers").rglob("*") if path.is_file()]
    for path in [*PAGES, *sources, *containers]:
        for line in path.read_text().replace("\\\n", " ").splitlines():
            assert _unquoted(line) == [], f"{path.relative_to(ROOT)}: {line}"
