"""
Which node stctrl talks to when nobody says so on the command line. Spec 09 §5.

``-C DIR`` names a directory that ``stmgr setup-node`` made; app.ident and node.ticket in it are what ``-I`` and ``-T``
would name. Without it the environment variable `VARIABLE` names the directory, and without that the key ``directory``
of a profile, ``offset/stctrl.toml`` in the user's configuration directory.
"""

import os
from pathlib import Path
from typing import Final

from offset_proto.errors import InvalidInput, OffsetError
from offset_proto.toml_text import parse_toml

__all__ = ["VARIABLE", "ProfileError", "default_directory"]

VARIABLE: Final = "OFFSET_DIRECTORY"


class ProfileError(OffsetError):
    """The profile can not be used; the text names the file, and what is wrong."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"ProfileError({path}: {reason})")


def default_directory() -> Path | None:
    """
    The directory of the node to talk to, if the environment or the profile names one.

    Raises:
        ProfileError: There is a profile, and it names none.
    """
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    # XDG Base Directory Specification
    profile = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "offset" / "stctrl.toml"
    try:
        values = parse_toml(profile.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ProfileError(profile, error.strerror or str(error)) from None
    except InvalidInput as error:
        raise ProfileError(profile, str(error)) from None
    directory = values.get("directory")
    if set(values) != {"directory"} or not isinstance(directory, str):
        raise ProfileError(profile, 'it has one key, such as directory = "/home/alice/node"')
    return profile.parent / Path(directory).expanduser()
