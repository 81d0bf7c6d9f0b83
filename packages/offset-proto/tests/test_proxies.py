"""Proxies as they are entered, and the hosts that go through them. Spec 02 §3.1, 09 §3.5."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offset_proto.errors import InvalidInput
from offset_proto.proxies import ProxyUrl, is_loopback, is_onion, parse_proxy


@pytest.mark.parametrize(
    ("text", "url", "shown"),
    [
        ("socks5h://127.0.0.1:9050", ProxyUrl("127.0.0.1", 9050), "socks5h://127.0.0.1:9050"),
        ("SOCKS5H://proxy.example:1080/", ProxyUrl("proxy.example", 1080), "socks5h://proxy.example:1080"),
        ("socks5h://[::1]:1", ProxyUrl("::1", 1), "socks5h://[::1]:1"),
        ("socks5h://ann:s3cret@h:1", ProxyUrl("h", 1, "ann", "s3cret"), "socks5h://ann:...@h:1"),
        ("socks5h://a%3Ab:p%40%2F@h:1", ProxyUrl("h", 1, "a:b", "p@/"), "socks5h://a:b:...@h:1"),
        ("socks5h://ann:a@b/:c@h:1", ProxyUrl("h", 1, "ann", "a@b/:c"), "socks5h://ann:...@h:1"),
    ],
)
def test_proxies(text, url, shown):
    """What is taken; and no text of it shows the password."""
    assert parse_proxy(text) == url
    assert str(parse_proxy(text)) == shown
    assert "s3cret" not in repr(parse_proxy(text))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "does not begin with socks5h://"),
        ("127.0.0.1:9050", "does not begin with socks5h://"),
        ("http://h:1", "does not begin with socks5h://"),
        ("socks5://h:1", "this machine would look names up"),
        ("socks5h://", "no port"),
        ("socks5h://h", "no port"),
        ("socks5h://h:", "no port"),
        ("socks5h://h:0", "no port; a port is"),
        ("socks5h://h:65536", "no port; a port is"),
        ("socks5h://:9050", "no host"),
        ("socks5h://h h:1", "blank"),
        ("socks5h://h:1/path", "goes on after the port"),
        ("socks5h://h:1\n", "no port"),
        ("socks5h://2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion:1", "no onion service"),
        ("socks5h://ann@h:1", "user and password"),
        ("socks5h://ann:@h:1", "user and password"),
        ("socks5h://:s3cret@h:1", "user and password"),
        (f"socks5h://ann:{'s3cret' * 50}@h:1", "user and password"),
        ("socks5h://ann:s3crät@h:1", "user and password"),
    ],
)
def test_what_is_no_proxy(text, reason):
    """A word on what is wrong, and what to write."""
    with pytest.raises(InvalidInput, match=reason) as refused:
        parse_proxy(text)
    assert "write socks5h://HOST:PORT" in str(refused.value)


@given(st.text(st.sampled_from("aZ9:/@%[].-s \n")))
def test_any_text_is_taken_or_refused(text):
    """And where it is refused, what may be a password is not shown."""
    reason = ""
    try:
        parse_proxy(f"socks5h://ann:s3cret{text}")
    except InvalidInput as error:
        reason = str(error)
    assert "s3cret" not in reason


@pytest.mark.parametrize(
    ("host", "onion", "loopback"),
    [
        ("abc.onion", True, False),
        ("ABC.Onion.", True, False),
        ("onion", True, False),
        ("onion.example", False, False),
        ("abc.onions", False, False),
        ("127.0.0.1", False, True),
        ("127.255.255.254", False, True),
        ("::1", False, True),
        ("localhost", False, False),
        ("128.0.0.1", False, False),
        ("::", False, False),
        ("", False, False),
    ],
)
def test_hosts(host, onion, loopback):
    """Names under .onion, however they are written, and numbers that do not leave this machine."""
    assert (is_onion(host), is_loopback(host)) == (onion, loopback)


PROGRAM = """
import click
from offset_proto.cli import PROXY, run_program
from offset_proto.server_cli import ServerCommand

@click.command("st", cls=ServerCommand)
@PROXY
def st(proxy):
    click.echo(proxy.password)

run_program("st", "error", st)
"""


def _run(*words):
    return subprocess.run([sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True)


def test_the_option(tmp_path):
    """On the command line or in a file; what shows the settings, and what is wrong, does not show the password."""
    config = tmp_path / "st.toml"
    config.write_text('proxy = "socks5h://ann:s3cret@h:1"\n')
    assert _run("--config", config).stdout == "s3cret\n"
    shown = _run("--config", config, "--check-config")
    assert shown.stdout.startswith("proxy: socks5h://ann:...@h:1 (file)\n")
    assert shown.returncode == 0
    config.write_text('proxy = "socks5h://ann:s3cret@h:0"\n')
    for refused in (_run("--config", config), _run("--proxy", "socks5h://ann:s3cret@h:0")):
        assert "invalid proxy: " in refused.stderr
        assert "s3cret" not in refused.stdout + refused.stderr
        assert refused.returncode in (1, 2)
