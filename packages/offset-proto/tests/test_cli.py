"""What the command lines of all programs have in common: versions, grammar, how failures are told. Spec 09 §1."""

import logging
import re
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

import click
import pytest
from click.testing import CliRunner

from offset_proto.cli import (
    SOCKET_ADDRESS,
    U32_OPTION,
    OffsetCommand,
    OffsetGroup,
    run_program,
)
from offset_proto.errors import InvalidInput


def _a_callback() -> None:
    pass


@pytest.mark.parametrize("distribution", ["click", "pytest", "offset-proto"])
def test_a_program_prints_the_version_of_its_own_distribution(
    distribution: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The distribution is that of the module that defines the program; a subcommand prints the same."""
    monkeypatch.setattr(_a_callback, "__module__", f"{distribution.replace('-', '_')}.some.module")
    group = OffsetGroup("program", callback=_a_callback)
    group.add_command(OffsetCommand("part", callback=lambda: None))
    for arguments, name in ((["--version"], "program"), (["-V"], "program"), (["part", "-V"], "program-part")):
        result = CliRunner().invoke(group, arguments, prog_name="program")
        assert result.output == f"{name} {version(distribution)}\n"


def test_a_script_without_a_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says that it is not installed, and does not claim a version."""
    monkeypatch.setattr(_a_callback, "__module__", "no_such_distribution")
    command: click.Command = OffsetCommand("script", callback=_a_callback)
    assert CliRunner().invoke(command, ["-V"], prog_name="script").output == "script (not installed)\n"


MOMENT = r"\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"


@click.group("program", cls=OffsetGroup)
def _program() -> None:
    """A program with one command."""


@_program.command("pay")
@click.option("-a", "--amount", type=U32_OPTION, required=True)
@click.option("-t", "--to", type=SOCKET_ADDRESS)
@click.option("-n", "--note", multiple=True)
def _pay(amount: int, to: tuple[str, int] | None, note: tuple[str, ...]) -> None:
    """Pay."""
    click.echo(f"{amount} {to} {','.join(note)}")


@pytest.mark.parametrize(
    ("words", "output"),
    [
        (["-a", "5"], "5 None \n"),
        (["-a5"], "5 None \n"),
        (["-a=5"], "5 None \n"),
        (["--amount", "5"], "5 None \n"),
        (["--amount=+5"], "5 None \n"),
        (["-a", "4294967295"], "4294967295 None \n"),
        (["-t", "127.0.0.1:80", "-a", "5"], "5 ('127.0.0.1', 80) \n"),
        (["-t=[::1]:80", "-a=5"], "5 ('::1', 80) \n"),
        (["-a", "5", "-n", "x", "-n", ""], "5 None x,\n"),
    ],
)
def test_forms_of_an_option(words: list[str], output: str) -> None:
    """Each form of the specification's table, and the ends of the ranges."""
    assert CliRunner().invoke(_program, ["pay", *words]).output == output


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "Missing option '-a' / '--amount'"),
        (["-a", "5", "-a", "6"], "The argument '-a' was provided more than once"),
        (["-a", "5", "--amount", "6"], "The argument '--amount' was provided more than once"),
        (["-a", "-5"], "'-5' is negative: -a takes a number from 0 on"),
        (["-a", "-five"], "Found argument '-five' which wasn't expected"),
        (["-a=-5"], "invalid digit found in string"),
        (["-a", "4294967296"], "number too large to fit in target type: it is 4294967295 at most"),
        (["-a", ""], "cannot parse integer from empty string"),
        (["-a", "1_0"], "invalid digit found in string"),
        (["-a", "5", "-t", "localhost:80"], "invalid socket address syntax"),
        (["-a", "5", "-t", "127.0.0.1"], "invalid socket address syntax"),
        (["-a", "5", "more"], "unexpected extra argument"),
        (["-a", "5", "--amoun", "6"], "No such option"),
    ],
)
def test_what_the_grammar_refuses(words: list[str], text: str) -> None:
    """Nothing is run, and the message names what is wrong."""
    result = CliRunner().invoke(_program, ["pay", *words])
    assert result.exit_code == 2
    assert text in result.output


def test_help_on_every_level() -> None:
    """As an option, and as a subcommand; without a subcommand the help is an error."""
    for words in (["--help"], ["-h"], ["help"]):
        result = CliRunner().invoke(_program, words)
        assert result.exit_code == 0
        assert "A program with one command." in result.stdout
    for words in (["pay", "--help"], ["help", "pay"]):
        assert "--amount" in CliRunner().invoke(_program, words).stdout
    assert CliRunner().invoke(_program, ["help", "sell"]).exit_code == 2
    result = CliRunner().invoke(_program, [])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "A program with one command." in result.stderr


@pytest.fixture
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def _fails_with(error: BaseException) -> Callable[..., Any]:
    def command(**settings: object) -> None:
        raise error

    return command


@pytest.mark.usefixtures("_logging_as_before")
@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (
            InvalidInput("what is wrong"),
            1,
            r"\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ERROR program\] run\(\) error: what is wrong",
        ),
        (FileNotFoundError(2, "No such file"), 1, r"\[.* ERROR program\] run\(\) error: IoError\(No such file\)"),
        (click.UsageError("Not so."), 2, r"error: Not so \(see program --help\)"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_how_a_failure_is_told(
    error: BaseException, status: int, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line on stderr, with a status that scripts can use; nothing on stdout."""
    monkeypatch.delenv("RUST_LOG", raising=False)
    with pytest.raises(SystemExit) as ended:
        run_program("program", "run() error", _fails_with(error))
    assert ended.value.code == status
    told = capsys.readouterr()
    assert told.out == ""
    assert re.fullmatch(line, told.err.rstrip("\n"))


@pytest.mark.usefixtures("_logging_as_before")
@pytest.mark.parametrize(("level", "lines"), [("off", 0), ("error", 1), ("warn", 2), ("debug", 3), ("offset=warn", 2)])
def test_the_level_of_the_log(
    level: str, lines: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """RUST_LOG says from which level on something is written."""

    def command(**settings: object) -> int:
        log = logging.getLogger("offset.test")
        log.error("an error")
        log.warning("a warning")
        log.debug("a detail")
        return 0

    monkeypatch.setenv("RUST_LOG", level)
    with pytest.raises(SystemExit) as ended:
        run_program("program", "error", command)
    assert ended.value.code == 0
    assert len(capsys.readouterr().err.splitlines()) == lines


def test_a_group_that_does_something_by_itself() -> None:
    """With its own options, or none; a command of it is carried out instead, and with its own grammar."""
    done: list[object] = []

    @click.group("look", cls=OffsetGroup, invoke_without_command=True)
    @click.option("-n", "--number", type=int, default=0)
    @click.pass_context
    def look(ctx: click.Context, number: int) -> None:
        if ctx.invoked_subcommand is None:
            done.append(number)

    @look.command("closer")
    @click.argument("at")
    def closer(at: str) -> None:
        done.append(at)

    for arguments in ([], ["-n=3"], ["-n", "4"], ["closer", "there"]):
        assert CliRunner().invoke(look, arguments).exit_code == 0
    assert done == [0, 3, 4, "there"]
    assert CliRunner().invoke(look, ["-n", "1", "-n", "2"]).exit_code == 2
