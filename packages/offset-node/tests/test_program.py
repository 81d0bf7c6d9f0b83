"""The program stnode as a process. Spec 09 §3.3, D79."""

import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from offset_crypto.identity import Identity
from offset_funder.state import FunderState
from offset_node.database.backup import back_up
from offset_node.database.sqlite import create_database
from offset_node.state import NodeState
from offset_proto.files import IDENTITY, IdentityFile
from offset_proto.types import PrivateKey


def test_a_node_without_its_trusted_directory_says_so_and_ends_well(tmp_path):
    """The directory may be made later; until then no app can connect, and whoever mistyped it must learn that."""
    key = PrivateKey(b"\x01" * 32)
    IDENTITY.save(tmp_path / "node.ident", IdentityFile(key))
    create_database(tmp_path / "node.db", NodeState(FunderState(Identity(key).public_key)))
    program = Path(sys.executable).parent / "stnode"
    files = ["-i", tmp_path / "node.ident", "-d", tmp_path / "node.db", "-t", tmp_path / "nowhere"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = probe.getsockname()
    listen = ["-l", f"127.0.0.1:{address[1]}"]
    with subprocess.Popen([program, *files, *listen], stderr=subprocess.PIPE, text=True) as node:
        while node.poll() is None and not _listens(address):
            time.sleep(0.05)
        node.terminate()
        said = node.communicate()[1]
    said_of_it, *others = said.splitlines()
    assert str(tmp_path / "nowhere") in said_of_it
    assert [line.split("] ")[1].split(":")[0] for line in others] == ["listening", "started", "stopping"]
    assert node.returncode == 0


def _age_of_the_last_backup(address: tuple[str, int]) -> float:
    with urllib.request.urlopen(f"http://{address[0]}:{address[1]}/metrics", timeout=30) as page:
        lines = page.read().decode().splitlines()
    return float(next(line for line in lines if line.startswith("offset_backup_age_seconds ")).split()[1])


def test_metrics_have_the_age_of_the_last_backup(tmp_path):
    """Infinite where there is none, so that an alarm for old backups rings as well; made beside the running node."""
    key = PrivateKey(b"\x01" * 32)
    IDENTITY.save(tmp_path / "node.ident", IdentityFile(key))
    create_database(tmp_path / "node.db", NodeState(FunderState(Identity(key).public_key)))
    (tmp_path / "apps").mkdir()
    program = Path(sys.executable).parent / "stnode"
    files = ["-i", tmp_path / "node.ident", "-d", tmp_path / "node.db", "-t", tmp_path / "apps"]
    with socket.socket() as one, socket.socket() as other:
        for probe in (one, other):
            probe.bind(("127.0.0.1", 0))
        address, metrics = one.getsockname(), other.getsockname()
    listen = ["-l", f"127.0.0.1:{address[1]}", "--metrics", f"127.0.0.1:{metrics[1]}"]
    with subprocess.Popen([program, *files, *listen]) as node:
        try:
            while node.poll() is None and not _listens(address):
                time.sleep(0.05)
            before = _age_of_the_last_backup(metrics)
            back_up(tmp_path / "node.db", tmp_path / "a.backup")
            after = _age_of_the_last_backup(metrics)
        finally:
            node.terminate()
    assert before == float("inf")
    assert 0 <= after < float("inf")
    assert node.returncode == 0


def test_a_standby_of_a_file_is_refused(tmp_path):
    """Whether the option or the file of settings asks for it; --check-config says so, too."""
    (tmp_path / "node.toml").write_text("standby = true\n")
    program = Path(sys.executable).parent / "stnode"
    for asking in (["--standby"], ["--config", tmp_path / "node.toml"], ["--standby", "--check-config"]):
        words = ["-i", tmp_path / "node.ident", "-d", tmp_path / "node.db", "-t", tmp_path, "-l", "127.0.0.1:1"]
        refused = subprocess.run([program, *words, *asking], capture_output=True, text=True, check=False)
        assert refused.returncode == 2
        assert f"no other machine can reach the file {tmp_path / 'node.db'}" in " ".join(refused.stderr.split())


def _listens(address: tuple[str, int]) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(address) == 0
