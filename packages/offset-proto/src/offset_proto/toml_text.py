"""Settings in TOML, as people write them, with errors that say where and what. Pure."""

import tomllib
from typing import Any

from offset_proto.errors import InvalidInput
from offset_proto.file_forms import recognize

__all__ = ["parse_toml"]


def parse_toml(data: bytes) -> dict[str, Any]:
    """
    The tables and values in *data*.

    Raises:
        InvalidInput: It is no TOML; says at which line and column, and what stands there or what it is instead.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidInput(f"no TOML: not UTF-8 at line {line} (byte {error.start})") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = recognize(text)
        if found not in (None, "a file of settings"):
            raise InvalidInput(f"this is {found}, and a file of settings (TOML) is wanted") from None
        words = f"no TOML: {error}; expected are lines such as"
        raise InvalidInput(f'{words} name = "value", and # before a comment') from None
