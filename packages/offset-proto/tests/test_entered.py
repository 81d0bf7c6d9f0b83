"""What a person enters: taken, or refused with the reason."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offset_proto.entered import parse_address, parse_currency, parse_name
from offset_proto.errors import InvalidInput
from offset_proto.text import split_host_port

TOR_PROJECT = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion"
"""The onion service of a public web site: its key and checksum were made by Tor."""


@pytest.mark.parametrize(
    "text",
    [
        "relay.example.org:4000",
        "RELAY.example.org.:1",
        "localhost:65535",
        "a-1.b2:80",
        "3com.example:80",
        "xn--bcher-kva.example:443",
        "127.0.0.1:4000",
        "[2001:db8::1]:4000",
        "[::ffff:192.0.2.1]:4000",
        f"{TOR_PROJECT}:80",
        f"www.{TOR_PROJECT}:80",
        f"{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 58}:65535",
    ],
)
def test_addresses(text):
    """They are kept as they are, and whoever connects finds host and port in them."""
    assert parse_address(text) == text
    assert split_host_port(text)[1] == int(text.rpartition(":")[2])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is empty"),
        (" ", "a blank"),
        ("local host:99999", "a blank"),
        ("localhost:80\n", "a blank or a control character"),
        ("local\x00host:80", "control character"),
        ("local\u200bhost:80", "control character"),
        ("localhost", "it has no port"),
        ("localhost:", "'' is no port"),
        (":4000", "it has no host"),
        (":", "it has no host"),
        ("localhost:0", "'0' is no port"),
        ("localhost:65536", "'65536' is no port"),
        ("localhost:99999", "'99999' is no port"),
        ("localhost:+80", "is no port"),
        ("localhost:-80", "is no port"),
        ("localhost:080", "is no port"),
        ("localhost:http", "is no port"),
        ("localhost:٨٠", "is no port"),
        ("2001:db8::1:4000", "stands in brackets"),
        ("::1:4000", "stands in brackets"),
        ("[2001:db8::1]", "it has no port"),
        ("[2001:db8::g]:80", "is no IPv6 address"),
        ("[fe80::1%eth0]:80", "is no IPv6 address"),
        ("[127.0.0.1]:80", "is no IPv6 address"),
        ("[]:80", "is no IPv6 address"),
        ("127.0.0.256:80", "is no IPv4 address"),
        ("127.0.1:80", "is no IPv4 address"),
        ("1:80", "is no IPv4 address"),
        ("127.0.0.01:80", "is no IPv4 address"),
        ("http://localhost:80", "it is a URL; write HOST:PORT, without http://"),
        ("localhost:80/", "without a path"),
        ("localhost:80/path", "without a path"),
        ("user@localhost:80", "'user@localhost' in it"),
        ("my_relay:80", "'my_relay' in it"),
        ("-relay:80", "'-relay' in it"),
        ("relay-.example:80", "'relay-' in it"),
        ("relay..example:80", "between two dots is empty"),
        (".:80", "between two dots is empty"),
        (f"{'a' * 64}.example:80", "1 to 63 letters"),
        (f"{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 62}:8", "at most 253 characters"),
        (f"{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 61}:4000", "AddressTooLong"),
        ("bücher.example:80", "xn--"),
        (f"{'a' * 56}.onion:80", "an onion address"),
        ("expyuzz4wqqyqhjn.onion:80", "an onion address"),
        ("onion:80", "an onion address"),
        ("3" + TOR_PROJECT[1:] + ":80", "mistyped"),
    ],
)
def test_what_is_no_address(text, reason):
    """It says which, and why."""
    with pytest.raises(InvalidInput, match=r"^invalid address ") as caught:
        parse_address(text)
    assert reason in str(caught.value)
    assert str(caught.value).isprintable()


def test_an_onion_address_of_another_version():
    """Its checksum fits, and nobody knows what it means."""
    key, version = bytes(32), bytes([4])
    checksum = hashlib.sha3_256(b".onion checksum" + key + version).digest()[:2]
    label = base64.b32encode(key + checksum + version).decode().lower()
    with pytest.raises(InvalidInput, match="is of version 3"):
        parse_address(f"{label}.onion:80")


@given(st.text(max_size=40))
def test_any_text_is_taken_or_refused(text):
    """Nothing else happens; and what is taken can be connected to as far as its form goes."""
    try:
        address = parse_address(text)
    except InvalidInput:
        return
    host, port = split_host_port(address)
    assert host
    assert 1 <= port <= 65535


@pytest.mark.parametrize("name", ["bob", "Bob Marley", "boß", "نامه\u200cای", "愛子", "👩\u200d🌾"])
def test_names(name):
    """In any script, also where it needs joiners that cannot be seen."""
    assert parse_name(name) == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "is empty"),
        ("  ", "is only blanks"),
        ("\u3000", "is only blanks"),
        ("bob\n", r"'\\n'"),
        ("bo\x1bb", r"'\\x1b'"),
        ("bob\u2028", r"'\\u2028'"),
        ("\u202ebob", r"'\\u202e'"),
    ],
)
def test_what_is_no_name(name, reason):
    """Nor the name of a currency."""
    for parse in (parse_name, parse_currency):
        with pytest.raises(InvalidInput, match=reason):
            parse(name)


def test_the_name_of_a_currency():
    """It is of sixteen bytes at most."""
    assert parse_currency("FST") == "FST"
    with pytest.raises(InvalidInput, match="CurrencyNameTooLong"):
        parse_currency("x" * 17)
