"""
The API of stweb under what Schemathesis makes of its own description: no fault of ours, and answers that fit.

    tox -e api -- --requests 20000 --seed 7

A stweb serves a real node with a friend. Schemathesis reads the OpenAPI document, and sends what it allows, what it
does not, and what lies at the edges, with a token that may do everything. Each answer must have a status, a type and a
form that the document declares, and none may be a 5xx but 501 and 503, by which the API says that the node can not do
something, or is not reached. The stream of events is left out, since it has no end, and so is the removal of the
friend, whom other requests need.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import click
import httpx

from interop.by_hand import run_by_hand
from interop.network import Network, NodeSpec
from interop.web import Web

__all__ = ["main", "send_requests", "try_api"]

CHECKS: Final = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
LEFT_OUT: Final = ("follow_events", "remove_friend")
_SETTINGS: Final = """
[parameters]
"path.node" = "{node}"
"path.friend" = "{friend}"
[checks.not_a_server_error]
expected-statuses = ["2xx", "4xx", "501", "503"]
"""


def send_requests(web: Web, node: str, friend: str, requests: int, seed: int, directory: Path) -> tuple[int, str]:
    """
    Send about so many requests; the status of Schemathesis, and what it has said.

    Args:
        web: The server.
        node, friend: The names of its node and of a friend, which most requests name, too.
        requests: In all.
        seed: What is sent follows from it, and from what is answered.
        directory: For files.
    """
    document = httpx.get(f"{web.url}/api/v1/openapi.json", trust_env=False).json()
    operations = sum(len(methods) for methods in document["paths"].values())
    settings = directory / "schemathesis.toml"
    settings.write_text(_SETTINGS.format(node=node, friend=friend))
    command = [Path(sys.executable).with_name("schemathesis"), "--config-file", settings, "run"]
    command += [f"{web.url}/api/v1/openapi.json", "--header", f"Authorization: {web.headers['authorization']}"]
    command += [
        "--phases",
        "fuzzing",
        "--checks",
        CHECKS,
        "--seed",
        seed,
        "--max-examples",
        max(1, requests // operations),
    ]
    for left_out in LEFT_OUT:
        command += ["--exclude-operation-id", left_out]
    command += ["--continue-on-failure", "--no-color", "--generation-with-security-parameters", "false"]
    command += ["--generation-database", "none", "--warnings", "off"]
    done = subprocess.run(
        [str(word) for word in command],
        cwd=directory,
        capture_output=True,
        text=True,
        env={**os.environ, "NO_PROXY": "*"},
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@click.command()
@click.option("--requests", type=click.IntRange(1), default=400, show_default=True, help="About so many, in all.")
@click.option("--seed", type=int, default=1, show_default=True, help="Another one, other requests.")
def main(requests: int, seed: int) -> int:
    """Send requests to a stweb with a real node, and say what came of it."""
    with tempfile.TemporaryDirectory(prefix="offset-api-") as place:
        status, said = try_api(Path(place), requests, seed)
    click.echo(said)
    return status


def try_api(directory: Path, requests: int, seed: int) -> tuple[int, str]:
    """Send requests to a stweb of a new network: 0 where all was as it should be, and what was said."""
    with Network(directory) as network:
        network.add_relay("relay")
        network.add_index_servers(["index"])
        for name in ("A", "B"):
            network.add_node(NodeSpec(name, "relay", "index"))
        network.befriend("A", "B", "FST")
        web = Web(network, directory, "A")
        try:
            status, said = send_requests(web, "A", "B", requests, seed, directory)
        finally:
            web.server.stop()
        log = web.log.read_text()
    if "a fault of ours" in log:
        return 1, f"{said}\nThe end of the log of stweb:\n{log[-4000:]}"
    return status, said


if __name__ == "__main__":
    sys.exit(run_by_hand(main))
