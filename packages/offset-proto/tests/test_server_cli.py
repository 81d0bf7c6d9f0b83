"""Configuration files of servers. Spec 09 §3.4."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from offset_proto.cli import SOCKET_ADDRESS
from offset_proto.server_cli import ConfigError, ServerCommand


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
    assert "can't decode" in str(CliRunner().invoke(_server, ["--config", str(tmp_path / "bytes.toml")]).exception)


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
