"""
Conversations with stcompact, written down: what the user says, and what it must be told.

    # a comment; the first one says what the conversation shows
    -> {"requestId":"$r1","inner":{"enableNode":"alice"}}      the user says a line
    <- {"ack":"$r1"}                                           the next line for the user is like this
    -| nonsense                                                the user says this, whatever it is
    -x {"requestId":"$r2", ...                                 the same without a line end, then the input ends
    -. 0                                                       the input ends; the program must end with this status

A text ``"$name"`` stands for one value: the same wherever the name is used. Where the user is the first to use it, it
is drawn: 16 random bytes, or as many as ``"$name:32"`` says. ``"..."`` is like anything. Further members of an object
that is told are not allowed.
"""

import base64
import contextlib
import json
import os
import queue
import re
import subprocess
import threading
from pathlib import Path
from typing import Any, Final

__all__ = ["ConversationFailed", "Wallet", "hold", "lines_of_user"]

ANSWER_SECONDS: Final = 30.0
STOP_SECONDS: Final = 15.0


class ConversationFailed(AssertionError):
    """The user was told something else, or nothing."""


class Wallet:
    """
    A stcompact process.

    Args:
        program: Path of the program.
        store: Its store.
        log: Where its complaints go.
    """

    def __init__(self, program: str, store: Path, log: Path) -> None:
        self._log = log.open("ab")
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([program, "-s", str(store)], stdin=pipe, stdout=pipe, stderr=self._log)
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __enter__(self) -> "Wallet":
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._thread.join()
        for stream in (self.process.stdin, self.process.stdout, self._log):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def say_bytes(self, data: bytes) -> None:
        """Exactly this."""
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def say(self, value: Any) -> None:
        """One line of JSON."""
        self.say_bytes(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")

    def hear(self, seconds: float = ANSWER_SECONDS) -> Any:
        """The next line. Raises ConversationFailed where none comes."""
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            raise ConversationFailed(f"nothing was said for {seconds:g} s") from None
        if line is None:
            raise ConversationFailed(f"the program has ended with status {self.process.wait()}")
        if not line.endswith(b"\n"):
            raise ConversationFailed(f"a line without end: {line!r}")
        return json.loads(line)

    def end(self) -> int:
        """No more is said; the exit status."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(STOP_SECONDS)


def lines_of_user(path: Path) -> list[str]:
    """What the user says in a conversation, with values drawn."""
    values: dict[str, Any] = {}
    said = [text.removeprefix("-> ") for text in path.read_text().splitlines() if text.startswith("-> ")]
    return [json.dumps(_filled(json.loads(text), values)) for text in said]


def hold(path: Path, wallet: Wallet) -> None:
    """
    Hold a conversation.

    Raises:
        ConversationFailed: With the line of the file, what was expected and what was told.
    """
    values: dict[str, Any] = {}
    for number, text in enumerate(path.read_text().splitlines(), 1):
        mark, _, rest = text.partition(" ")
        if not text or mark == "#":
            continue
        try:
            _step(mark, rest, wallet, values)
        except ConversationFailed as error:
            raise ConversationFailed(f"{path.name}, line {number}: {error}") from None


def _step(mark: str, rest: str, wallet: Wallet, values: dict[str, Any]) -> None:
    match mark:
        case "->":
            wallet.say(_filled(json.loads(rest), values))
        case "<-":
            told = wallet.hear()
            if not _is_like(json.loads(rest), told, values):
                raise ConversationFailed(f"expected\n{rest}\nand was told\n{json.dumps(told, ensure_ascii=False)}")
        case "-|":
            wallet.say_bytes(rest.encode() + b"\n")
        case "-x":
            wallet.say_bytes(json.dumps(_filled(json.loads(rest), values)).encode())
            assert wallet.process.stdin is not None
            wallet.process.stdin.close()
        case "-.":
            status = wallet.end()
            if status != int(rest):
                raise ConversationFailed(f"ended with status {status}")
        case _:
            raise ValueError(f"no such mark: {mark}")


_NAME: Final = re.compile(r"\$(\w+)(?::(\d+))?")


def _filled(value: Any, values: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, values) for item in value]
    found = _NAME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return value
    name, size = found.groups()
    if name not in values:
        values[name] = base64.urlsafe_b64encode(os.urandom(int(size or 16))).rstrip(b"=").decode()
    return values[name]


def _is_like(pattern: Any, told: Any, values: dict[str, Any]) -> bool:
    if pattern == "...":
        return True
    if isinstance(pattern, dict):
        keys = {_filled(key, values): key for key in pattern}
        is_object = isinstance(told, dict) and told.keys() == keys.keys()
        return is_object and all(_is_like(pattern[key], told[known], values) for known, key in keys.items())
    if isinstance(pattern, list):
        is_list = isinstance(told, list) and len(told) == len(pattern)
        return is_list and all(_is_like(one, other, values) for one, other in zip(pattern, told, strict=True))
    found = _NAME.fullmatch(pattern) if isinstance(pattern, str) else None
    if found is None:
        return bool(pattern == told and type(pattern) is type(told))
    return bool(values.setdefault(found[1], told) == told)
