"""Configuration files of servers. Spec 09 §3.4."""

import io
import json
import logging
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from offset_proto.cli import SOCKET_ADDRESS, PathOrUrl
from offset_proto.errors import OffsetError
from offset_proto.logs import SummingHandler
from offset_proto.reloading import Change
from offset_proto.server_cli import ConfigError, ServerCommand, reading_again


@click.command("server", cls=ServerCommand)
@click.option("-i", "--idfile", type=click.Path(path_type=Path), required=True)
@click.option("-l", "--laddr", type=SOCKET_ADDRESS, required=True)
@click.option("--metrics-port", type=SOCKET_ADDRESS)
@click.option("--without", multiple=True, is_eager=True)
def _server(**options: object) -> None:
    click.echo(dict(sorted(options.items())))


def _run(directory: Path, text: str, *words: str) -> Result:
    file = directory / "server.toml"
    file.write_text(text)
    return CliRunner().invoke(_server, ["--config", str(file), *words])


GOOD = 'idfile = "server.ident"\nladdr = "[::1]:4000"\nwithout = ["one", "two"]\n'


def test_options_stand_in_a_file(tmp_path: Path) -> None:
    """Also those that are required; paths start at the file, and the command line goes before it."""
    expected = {
        "idfile": tmp_path / "server.ident",
        "laddr": ("::1", 4000),
        "metrics_port": None,
        "without": ("one", "two"),
    }
    assert _run(tmp_path, GOOD).output == f"{expected}\n"
    expected |= {"laddr": ("127.0.0.1", 1), "without": ("three",)}
    assert _run(tmp_path, GOOD, "-l", "127.0.0.1:1", "--without", "three").output == f"{expected}\n"
    (tmp_path / "elsewhere").mkdir()
    absolute = GOOD.replace("server.ident", "/etc/server.ident")
    assert f"'idfile': {Path('/etc/server.ident')!r}" in _run(tmp_path / "elsewhere", absolute).output


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("data://host/name", "data://host/name"),
        ("node.db", "{directory}/node.db"),
        ("other://host/name", "{directory}/other:/host/name"),
        ("data:name", "{directory}/data:name"),
    ],
)
def test_a_url_starts_nowhere(tmp_path: Path, written: str, expected: str) -> None:
    """An option may take a file or a URL of some schemes: the one starts at the file, and the other stays as it is."""

    @click.command("stored", cls=ServerCommand)
    @click.option("--place", type=PathOrUrl("data"))
    def stored(place: object) -> None:
        click.echo(f"{type(place).__name__} {place}")

    file = tmp_path / "server.toml"
    file.write_text(f'place = "{written}"')
    kind = "str" if expected == written else type(tmp_path).__name__
    told = CliRunner().invoke(stored, ["--config", str(file)]).output
    assert told == f"{kind} {expected.format(directory=tmp_path)}\n"


@pytest.mark.parametrize(("written", "is_set"), [("true", True), ("false", False)])
def test_a_flag_is_true_or_false(tmp_path: Path, written: str, is_set: bool) -> None:
    """Neither a text nor a number; the command line sets it, whatever the file says."""

    @click.command("flagged", cls=ServerCommand)
    @click.option("--waits", is_flag=True)
    def flagged(waits: object) -> None:
        click.echo(f"waits: {waits}")

    def run(*words: str) -> Result:
        return CliRunner().invoke(flagged, ["--config", str(file), *words])

    file = tmp_path / "server.toml"
    file.write_text(f"waits = {written}")
    assert run().output == f"waits: {is_set}\n"
    assert run("--check-config").output.startswith(f"waits: {written} (file)\n")
    assert run("--waits").output == "waits: True\n"
    for wrong in (f'"{written}"', "1", f"[{written}]"):
        file.write_text(f"waits = {wrong}")
        assert "waits is true or false, such as waits = true" in str(run().exception)


def test_what_is_required_may_not_be_missing(tmp_path: Path) -> None:
    """Neither in the file nor on the command line."""
    result = _run(tmp_path, 'laddr = "127.0.0.1:1"')
    assert result.exit_code == 2
    assert "Missing option '-i' / '--idfile'" in result.output


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('idfil = "x"', "idfil is no setting of server; the nearest one is idfile"),
        ('metrics = "127.0.0.1:1"', "metrics is no setting of server; the nearest one is metrics-port"),
        ('metrics_port = "127.0.0.1:1"', "the nearest one is metrics-port"),
        ('config = "x"', "config is no setting of server"),
        ("[laddr]\nport = 1\n", "laddr is a text"),
        ("laddr = 4000", "laddr is a text"),
        ("without = [1]", "without is a list of texts"),
        ('laddr = ["127.0.0.1:1"]', "laddr is a text"),
        ('laddr = "localhost:4000"', "laddr: invalid socket address syntax"),
        ("laddr", "at end of document"),
        (
            '# x\nladdr: "x"',
            "no TOML: Expected '=' after a key in a key/value pair (at line 2, column 6); expected are lines",
        ),
        ('{"privateKey": "AQ"}', "this is an identity, and a file of settings (TOML) is wanted"),
        ('laddr = "127.0.0.1:1"\nladdr = "127.0.0.1:2"', "Cannot overwrite a value"),
        ("#" * 65_537, "longer than 65536 bytes"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, reason: str) -> None:
    """With the file, the key, and what to write."""
    error = _run(tmp_path, text).exception
    assert isinstance(error, ConfigError)
    assert str(error).startswith(f"ConfigError({tmp_path / 'server.toml'}: ")
    assert reason in str(error)


def test_no_such_file_and_no_text(tmp_path: Path) -> None:
    """Each is one error, too."""
    assert "No such file" in str(CliRunner().invoke(_server, ["--config", str(tmp_path / "none.toml")]).exception)
    (tmp_path / "bytes.toml").write_bytes(b"\xff")
    refused = CliRunner().invoke(_server, ["--config", str(tmp_path / "bytes.toml")]).exception
    assert "no TOML: not UTF-8 at line 1 (byte 0)" in str(refused)


def test_check_config(tmp_path: Path) -> None:
    """It shows what holds and where it comes from, and runs nothing; a file that is not there is a failure."""
    missing = _run(tmp_path, GOOD, "--check-config", "-l", "127.0.0.1:1")
    assert missing.output.splitlines() == [
        f"idfile: {tmp_path / 'server.ident'} (file, not there)",
        "laddr: 127.0.0.1:1 (command line)",
        "metrics-port: not set",
        "without: one, two (file)",
        "log-level: not set",
        "log-format: not set",
    ]
    (tmp_path / "server.ident").touch()
    assert (
        f"idfile: {tmp_path / 'server.ident'} (file)\nladdr: [::1]:4000 (file)"
        in _run(tmp_path, GOOD, "--check-config").output
    )


def _again(directory: Path, file: str, words: tuple[str, ...] = (), change: Change | None = None) -> str:
    """What a server logs that reads its file again, which has another text by then."""
    path = directory / "server.toml"
    path.write_text(GOOD + 'log-level = "warn"\n')
    written = io.StringIO()

    @click.command("server", cls=ServerCommand, params=[*_server.params[:4]])
    def server(**options: object) -> None:
        read_again = reading_again({} if change is None else {"without": change})
        assert read_again is not None
        (handler,) = logging.getLogger().handlers
        assert isinstance(handler, SummingHandler)
        handler.setStream(written)
        path.write_text(file)
        read_again()
        logging.getLogger("offset").info("informed")

    CliRunner().invoke(server, ["--config", str(path), *words], catch_exceptions=False)
    return written.getvalue()


def test_a_file_is_read_again(tmp_path: Path) -> None:
    """The level of the log counts at once, and what waits for the next start is named."""
    said = _again(tmp_path, GOOD.replace("4000", "5000") + 'log-level = "info"\n')
    assert said.count("configuration_read: ") == said.count("informed") == 1
    assert said.splitlines()[0].endswith("server.toml: in effect now: log-level; after the next start: laddr")


def test_what_makes_the_log_quieter_is_told_before(tmp_path: Path) -> None:
    """Otherwise nobody would learn of it; the command line goes before the file as it did at the start."""
    assert "configuration_read" not in _again(tmp_path, GOOD + 'log-level = "error"\n')
    said = _again(tmp_path, GOOD + 'log-level = "error"\n', ("--log-level", "info"))
    assert "in effect now: -; after the next start: -" in said
    assert "informed" in said
    assert json.loads(_again(tmp_path, GOOD + 'log-format = "json"\nlog-level = "info"\n').splitlines()[0])["fields"][
        "changed"
    ] == ["log-level", "log-format"]


@pytest.mark.parametrize("text", ["laddr = 4000", "laddr = ", 'idfil = "x"', GOOD + 'log-level = "loud"', 'idfile="x"'])
def test_a_file_that_is_not_valid_changes_nothing(tmp_path: Path, text: str) -> None:
    """It is told, with the name of the file; the level is as it was."""
    (line,) = _again(tmp_path, 'log-format = "json"\nlog-level = "info"\n' + text).splitlines()
    assert "ERROR server] configuration_refused: nothing has changed: " in line
    assert "server.toml: " in line


def test_a_setting_of_the_server_itself(tmp_path: Path) -> None:
    """All are checked before any counts."""
    counted: list[object] = []

    def change(value: tuple[str, ...]) -> Callable[[], None] | None:
        if "bad" in value:
            raise OffsetError("bad")
        return None if value == ("one", "two") else lambda: counted.append(value)

    assert "configuration_refused" in _again(tmp_path, GOOD.replace("one", "bad"), change=change)
    assert not counted
    assert "in effect now: log-level; after" in _again(tmp_path, GOOD + 'log-level = "info"\n', change=change)
    assert not counted
    said = _again(tmp_path, GOOD.replace("one", "three") + 'log-level = "info"\n', change=change)
    assert "in effect now: without, log-level; after the next start: -" in said
    assert counted == [("three", "two")]


def test_without_a_file_there_is_nothing_to_read_again() -> None:
    """SIGHUP then does what it does to any program."""

    @click.command("server", cls=ServerCommand)
    def server() -> None:
        click.echo(reading_again() is None)

    assert CliRunner().invoke(server, []).output == "True\n"
