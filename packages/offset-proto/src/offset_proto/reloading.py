"""
A configuration file that is read again while a server runs. Spec 09 §3.4.

The command line is read as it was at the start, and the file as it is now, by the same code; so what is an error at the
start is one now. All is checked before anything changes. What counts at once is given by the server; all else is named,
and counts after the next start.

Needs click, like `offset_proto.cli`.
"""

import functools
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import click

from offset_proto.errors import OffsetError
from offset_proto.log_events import CONFIGURATION_READ, CONFIGURATION_REFUSED, tell
from offset_proto.logs import LEVELS, change_logging

__all__ = ["Change", "RunningSettings"]

log = logging.getLogger("offset")

Change = Callable[[Any], Callable[[], None] | None]
"""
What a server does about a setting that counts at once. It is given the value, whether that is new or not, and checks
it; it gives back what makes it count, or None where nothing changes. It raises OffsetError for what can not be used.
"""

_LOG_SETTINGS: Final = {"log-level": "log_level", "log-format": "log_format"}


class RunningSettings:
    """
    The settings of a server that runs.

    Args:
        command: Of the server.
        arguments: Of its command line.
        file: The configuration file.
        values: In effect, by the names of parameters.
        parameters: Names of parameters, by the names of settings.
        changes: Of settings that count at once, besides those of the log.
    """

    def __init__(
        self,
        command: click.Command,
        arguments: tuple[str, ...],
        file: Path,
        values: Mapping[str, Any],
        parameters: Mapping[str, str],
        changes: Mapping[str, Change],
    ) -> None:
        self._command = command
        self._arguments = arguments
        self._file = file
        self._values = dict(values)
        self._parameters = parameters
        self._changes = changes

    def read_again(self) -> None:
        """Read the file, make count what can, and tell all of it in the log; an error changes nothing."""
        try:
            with self._command.make_context(self._command.name, list(self._arguments)) as context:
                values = context.params
            changes = {name: change(values[self._parameters[name]]) for name, change in self._changes.items()}
        except click.ClickException as error:
            tell(log, CONFIGURATION_REFUSED, reason=f"{self._file}: {' '.join(error.format_message().split())}")
            return
        except OffsetError as error:
            tell(log, CONFIGURATION_REFUSED, reason=str(error))
            return
        for change in changes.values():
            if change is not None:
                change()
        self._take(values, [name for name, change in changes.items() if change is not None])

    def _take(self, values: Mapping[str, Any], changed: list[str]) -> None:
        differing = [name for name, key in self._parameters.items() if values[key] != self._values[key]]
        changed += [name for name in differing if name in _LOG_SETTINGS]
        waiting = [name for name in differing if name not in _LOG_SETTINGS and name not in self._changes]
        said = functools.partial(tell, log, CONFIGURATION_READ, file=str(self._file), changed=changed, waiting=waiting)
        before = self._values["log_level"]
        level, form = values["log_level"], values["log_format"]
        is_quieter = LEVELS[level or "info"] > LEVELS[before or "info"]
        if is_quieter:
            said()
        change_logging(str(self._command.name), level, form)
        if not is_quieter:
            said()
        self._values |= {key: values[key] for key in _LOG_SETTINGS.values()}
