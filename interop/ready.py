"""
Our commands without their start.

A network is set up by some eighty commands, each of which takes a quarter of a second to import what it needs, and a
millisecond to do it. Here each is still a process of its own, with its own arguments, output and exit status; but it
is forked from one that has imported everything. Servers are started as usual.
"""

import importlib
import multiprocessing
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from interop.programs import COMMAND_SECONDS, OURS, CommandFailed, Implementation

__all__ = ["OURS_READY"]

MODULES: Final = {
    "stctrl": "offset_ctrl.programs.stctrl.cli",
    "stmgr": "offset_ctrl.programs.stmgr.cli",
    "stverify": "offset_ctrl.programs.stverify",
}
"""Where the function `main` of each command is, as the package declares it."""

LATE: Final = (
    "offset_node.database.sqlite",
    *(f"offset_ctrl.programs.stctrl.{name}" for name in ("buyer", "config", "info", "payment_status", "seller")),
)
"""What a command imports once it knows what it is to do."""

_FORKING: Final = multiprocessing.get_context("forkserver")
_FORKING.set_forkserver_preload([*MODULES.values(), *LATE])


def _become(program: str, words: list[str], directory: str) -> None:
    """In the new process: do what the program does, with its output in two files."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(Path(directory) / name, os.O_WRONLY | os.O_CREAT, 0o600), descriptor)
    sys.argv = [program, *words]
    importlib.import_module(MODULES[Path(program).name]).main()


@dataclass(frozen=True)
class _Ready(Implementation):
    def run(self, program: str, *arguments: object, check: bool = True) -> "subprocess.CompletedProcess[str]":
        if program not in MODULES:
            return super().run(program, *arguments, check=check)
        words = [str(argument) for argument in arguments]
        with tempfile.TemporaryDirectory() as directory:
            process = _FORKING.Process(target=_become, args=(self.program(program), words, directory))
            process.start()
            process.join(COMMAND_SECONDS)
            if process.exitcode is None:
                process.kill()
                process.join()
                raise subprocess.TimeoutExpired([program, *words], COMMAND_SECONDS)
            output, errors = ((Path(directory) / name).read_text() for name in ("stdout", "stderr"))
        result = subprocess.CompletedProcess([program, *words], process.exitcode, output, errors)
        if check and result.returncode != 0:
            raise CommandFailed([program, *arguments], result)
        return result


OURS_READY: Final = _Ready(OURS.name, OURS.directory)
"""Our programs, for networks in which the start of a command is not what is tested."""
