"""What all programs have in common: here, whose version they print."""

from importlib.metadata import version

import click
import pytest
from click.testing import CliRunner

from offset_proto.cli import OffsetCommand, OffsetGroup


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
