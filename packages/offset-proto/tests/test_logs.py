"""What servers write into their logs. Spec 09 §1.2, §3.4."""

import io
import json
import logging
import re
import string
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from offset_proto.cli import fail
from offset_proto.log_events import EVENTS, FRIEND_OFFLINE, FRIEND_ONLINE, LIMIT_REACHED, RELAY_LOST, tell
from offset_proto.log_sums import CAUSES_MAX, LINES_FREE, QUIET_SECONDS, WINDOWS, Sums
from offset_proto.logs import FORMATS, SummingHandler, change_logging, set_up_server_logging, write_sums
from offset_proto.server_cli import ServerCommand

log = logging.getLogger("offset.test")


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _log_to(clock: Clock, level: str = "info", form: str = "text") -> io.StringIO:
    """A server's log, in memory and with a time of its own."""
    set_up_server_logging("server", level, form)
    (old,) = logging.getLogger().handlers
    handler = SummingHandler(clock)
    handler.setFormatter(old.formatter)
    logging.getLogger().handlers[:] = [handler]
    written = io.StringIO()
    handler.setStream(written)
    return written


# The table.


def test_every_event_has_a_name_of_its_own_and_words_for_all_fields() -> None:
    """A name that two events had would mislead whoever reads logs by a program."""
    names = [event.name for event in EVENTS]
    assert len(names) == len(set(names)) >= 25
    for event in EVENTS:
        shown = {name for _, name, _, _ in string.Formatter().parse(event.text) if name}
        assert shown <= event.fields.keys(), event.name
        assert set(event.cause) <= event.fields.keys(), event.name


# Lines.


def test_a_line_of_text_shows_what_can_not_be_printed() -> None:
    """A friend's reason can not begin a line of its own."""
    written = _log_to(Clock())
    tell(log, FRIEND_OFFLINE, friend="bob", key="KEY", online=3.25, reason="x\n[2026 ERROR server] \x1b[2J")
    (line,) = written.getvalue().splitlines()
    assert line.endswith(r" INFO server] friend_offline: bob, after 3.2 s with it: x\n[2026 ERROR server] \x1b[2J")


def test_a_line_of_json_has_time_level_logger_event_and_fields() -> None:
    """A record that is no event is a message."""
    written = _log_to(Clock(), form="json")
    tell(log, RELAY_LOST, relay="a:1", reason="gone", next=8)
    log.warning("%s is odd", "it")
    try:
        raise ValueError("x")
    except ValueError:
        log.exception("broken")
    lost, odd, broken = map(json.loads, written.getvalue().splitlines())
    time = lost.pop("time")
    assert len(time) == 24
    assert time[10] + time[19] + time[23] == "T.Z"
    assert lost == {
        "level": "info",
        "logger": "offset.test",
        "event": "relay_lost",
        "text": "relay_lost: a:1: gone; next attempt in 8 s",
        "fields": {"relay": "a:1", "reason": "gone", "next": 8},
    }
    assert (odd["event"], odd["level"], odd["text"], odd["fields"]) == ("message", "warn", "it is odd", {})
    assert broken["traceback"].endswith("ValueError: x")


# Sums.


def test_the_same_from_one_cause_is_told_a_few_times_and_then_counted() -> None:
    """Sums come after longer and longer windows, and show the last one."""
    sums: Sums[int] = Sums()
    assert [sums.admit("g", "c", n, n) for n in range(10)] == [True] * LINES_FREE + [False] * (10 - LINES_FREE)
    held = LINES_FREE - 1
    assert sums.due(held + WINDOWS[0] - 1) == []
    (total,) = sums.due(held + WINDOWS[0])
    assert (total.last, total.times, total.seconds) == (9, 4, 60)
    assert not sums.admit("g", "c", 10, held + WINDOWS[0] + 1)
    (total,) = sums.due(held + WINDOWS[0] + WINDOWS[1])
    assert (total.last, total.times, total.seconds) == (10, 1, 240)


def test_what_is_rare_is_told_at_once() -> None:
    """After a window in which nothing came; and after a long rest the cause is as new."""
    sums: Sums[int] = Sums()
    for n in range(LINES_FREE):
        assert sums.admit("g", "c", n, 0)
    assert sums.admit("g", "c", 7, WINDOWS[0])
    assert not sums.admit("g", "c", 8, WINDOWS[0] + WINDOWS[1] - 1)
    (total,) = sums.due(WINDOWS[0] + WINDOWS[1])
    assert total.last == 8
    assert sums.due(2 * QUIET_SECONDS) == []
    assert [sums.admit("g", "c", n, 2 * QUIET_SECONDS) for n in range(LINES_FREE)] == [True] * LINES_FREE


def test_one_cause_does_not_silence_another() -> None:
    """A friend on a bad line hides no other friend."""
    sums: Sums[int] = Sums()
    for n in range(100):
        sums.admit("g", "noisy", n, 0)
    assert sums.admit("g", "quiet", 1, 1)


def test_the_table_of_causes_is_bounded() -> None:
    """Those that find no room are counted together, for each group."""
    sums: Sums[int] = Sums()
    told = [sums.admit("g", n, n, 0) for n in range(10 * CAUSES_MAX)]
    assert sum(told) == CAUSES_MAX + LINES_FREE
    assert sums.admit("another", 0, 0, 0)
    assert [total.times for total in sums.due(WINDOWS[0])] == [9 * CAUSES_MAX - LINES_FREE]


def test_what_is_counted_at_the_end_is_told() -> None:
    """Nothing is lost when the program ends."""
    sums: Sums[int] = Sums()
    for n in range(8):
        sums.admit("g", "c", n, n)
    assert [(total.last, total.times) for total in sums.end(8)] == [(7, 2)]
    assert sums.end(9) == []


def test_a_message_may_have_a_cause() -> None:
    """What is said of each of many friends is said of each."""
    written = _log_to(Clock())
    for n in range(2 * LINES_FREE):
        log.error("%s", f"friend {n} is heard", extra={"cause": n})
        log.error("friend %s is ahead", n)
    text = written.getvalue()
    assert text.count("is heard") == 2 * LINES_FREE
    assert text.count("is ahead") == LINES_FREE


def test_what_ends_a_server_is_the_last_line_of_its_log() -> None:
    """Sums come before it, so that whoever looks at the end sees why."""
    written = _log_to(Clock())
    for _ in range(LINES_FREE + 2):
        tell(log, LIMIT_REACHED, limit="L", what="refused")
    with pytest.raises(SystemExit):
        fail("run() error", "DatabaseError(full)")
    *_, total, last = written.getvalue().splitlines()
    assert re.search(r"\(the last of 2 in 0 s, since 20\d\d-[-0-9T:]+Z\)$", total)
    assert last.endswith(" ERROR server] run() error: DatabaseError(full)")


def test_whoever_asks_for_debug_gets_every_line() -> None:
    """Below info nothing is counted."""
    written = _log_to(Clock(), level="debug")
    for _ in range(100):
        log.debug("again")
    assert len(written.getvalue().splitlines()) == 100


def test_sums_are_written_though_nothing_else_is_told() -> None:
    """Whoever runs the server asks for them now and then."""
    clock = Clock()
    written = _log_to(clock)
    for _ in range(LINES_FREE + 5):
        tell(log, LIMIT_REACHED, limit="L", what="refused")
    clock.now = WINDOWS[0]
    write_sums()
    lines = written.getvalue().splitlines()
    assert len(lines) == LINES_FREE + 1
    found = re.search(r"^\[(\S+) .* limit_reached: L: refused \(the last of 5 in 60 s, since (\S+)\)$", lines[-1])
    assert found is not None
    written_at, since = map(datetime.fromisoformat, found.groups())
    assert (written_at - since).total_seconds() == 60


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("pause", [60, 300, 1200])
def test_a_day_with_fifty_friends_on_bad_lines_takes_less_than_a_megabyte(form: str, pause: int) -> None:
    """However fast they come and go; in each hour the log says how it stands with each of them."""
    clock = Clock()
    written = _log_to(clock, form=form)
    keys = [f"{n:043}=" for n in range(50)]
    hours = []
    for clock.now in range(0, 86_400, pause):
        for n, key in enumerate(keys):
            tell(log, FRIEND_ONLINE, friend=f"friend number {n:02}", key=key, away=10.0)
            tell(log, FRIEND_OFFLINE, friend=f"friend number {n:02}", key=key, online=9.0, reason="the peer left")
        tell(log, RELAY_LOST, relay="relay.example.net:7001", reason="the peer closed the connection", next=8)
        if clock.now % 7200 == 0:
            hours.append(written.tell())
    text = written.getvalue()
    assert len(text) < 1_000_000
    for begin, end in pairwise(hours):
        assert all(f"friend number {n:02}" in text[begin:end] for n in range(50))


# Options.


@click.command("server", cls=ServerCommand)
def _server() -> None:
    log.info("informed")
    log.error("erred")


@pytest.mark.parametrize(
    ("words", "rust_log", "file", "said"),
    [
        ([], None, "", ["informed", "erred"]),
        ([], "error", "", ["erred"]),
        ([], "offset_relay=error,warn", "", ["erred"]),
        ([], "off", "", []),
        ([], "something else", "", ["informed", "erred"]),
        ([], None, 'log-level = "error"', ["erred"]),
        ([], "info", 'log-level = "error"', ["informed", "erred"]),
        (["--log-level", "error"], "info", 'log-level = "info"', ["erred"]),
    ],
)
def test_the_command_line_goes_before_the_variable_and_the_variable_before_the_file(
    tmp_path: Path, words: list[str], rust_log: str | None, file: str, said: list[str]
) -> None:
    """The default is info; a variable that names no level counts for nothing."""
    (tmp_path / "c.toml").write_text(file)
    result = CliRunner().invoke(
        _server, ["--config", str(tmp_path / "c.toml"), *words], env={"RUST_LOG": rust_log}, catch_exceptions=False
    )
    assert [line.rpartition("] ")[2] for line in result.stderr.splitlines()] == said


def test_options_that_are_none_are_refused() -> None:
    """With the values that there are."""
    for words, reason in [
        (["--log-level", "loud"], "'loud' is none of off, error, warn, info, debug, trace"),
        (["--log-format", "xml"], "'xml' is not one of 'text', 'json'"),
    ]:
        result = CliRunner().invoke(_server, words)
        assert result.exit_code == 2
        assert reason in result.output


def test_level_and_form_change_while_a_server_runs() -> None:
    """What was counted before is counted on."""
    written = _log_to(Clock(), level="error")
    log.info("one")
    change_logging("server", "info", "json")
    log.info("two")
    assert [json.loads(line)["text"] for line in written.getvalue().splitlines()] == ["two"]
