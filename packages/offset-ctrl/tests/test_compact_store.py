"""The store of stcompact: directories and files of nodes. Spec 10 §9."""

import logging
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from offset_crypto.identity import Identity
from offset_ctrl.programs.stcompact import store as stores
from offset_ctrl.programs.stcompact.database import format_compact
from offset_ctrl.programs.stcompact.state import CompactState, OpenInvoice
from offset_ctrl.programs.stcompact.store import LocalEntry, OpenFileStoreError, RemoteEntry, Store, StoreError
from offset_proto.errors import InvalidInput
from offset_proto.messages.payment import RelayAddress
from offset_proto.types import Currency, InvoiceId, NetAddress, PrivateKey, PublicKey

SELLER = PublicKey(b"\x02" * 32)
STATE = CompactState({InvoiceId(b"\x04" * 32): OpenInvoice(Currency("FST"), 20, "tea", None, 3)}, {}, 4)


def _format(public_key: PublicKey) -> str:
    return f'"database of {public_key!r}"'


@pytest.fixture
def store(tmp_path) -> Any:
    """A store without a node, in a directory that was not there."""
    opened = Store(tmp_path / "deep" / "store")
    yield opened
    opened.close()


def test_nodes_of_a_store(store, tmp_path):
    """Spec 10 §9-1: local and remote nodes; who is enabled; removal."""
    assert store.entries() == {}
    for number in range(3):
        store.create_local(f"node{number}", _format)
    assert list(store.entries()) == ["node0", "node1", "node2"]
    assert not any(entry.is_enabled for entry in store.entries().values())
    store.set_enabled("node0", is_enabled=True)
    assert store.entry("node0").is_enabled
    app_key, ticket = PrivateKey(b"\x0a" * 32), RelayAddress(SELLER, NetAddress("b:2"))
    store.create_remote("node3", app_key, ticket)
    local, remote = store.entry("node0"), store.entry("node3")
    assert isinstance(local, LocalEntry)
    assert local.database.read_text() == _format(local.identity.public_key)
    assert isinstance(remote, RemoteEntry)
    assert (remote.app.public_key, remote.ticket) == (Identity(app_key).public_key, ticket)
    assert store.load_compact(remote) == CompactState()
    store.save_compact(remote, STATE)
    assert store.load_compact(remote) == STATE
    store.remove("node0")
    assert list(store.entries()) == ["node1", "node2", "node3"]
    assert not [path for path in (tmp_path / "deep" / "store").iterdir() if path.name.startswith(".")]


def test_files_of_a_store(store, tmp_path):
    """As the original has them: without whitespace or line end; readable for their owner only."""
    store.create_remote("r", PrivateKey(b"\x0a" * 32), RelayAddress(SELLER, NetAddress("b:2")))
    directory = tmp_path / "deep" / "store" / "remote" / "r"
    texts = {path.name: path.read_text() for path in directory.iterdir()}
    assert texts == {
        "app.ident": '{"privateKey":"CgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgo"}',
        "node.config": '{"isEnabled":false}',
        "node.info": '{"publicKey":"AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI","address":"b:2"}',
        "compact.db": format_compact(CompactState()),
    }
    for path in directory.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "name", ["", "..", ".", "a.b", "a/b", "a\\b", "a:b", "$a", "x" * 201, "€" * 67, "a\0b", "a\nb", "\x7f"]
)
def test_names(store, tmp_path, name):
    """D89, D93: what the file system or a reader could take for something else is refused, when removing, too."""
    (tmp_path / "deep" / "other").mkdir()
    for step in (
        lambda: store.create_local(name, _format),
        lambda: store.create_remote(name, PrivateKey(bytes(32)), RelayAddress(SELLER, NetAddress("b:2"))),
        lambda: store.remove(name),
    ):
        with pytest.raises(StoreError, match="InvalidNodeName"):
            step()
    assert (tmp_path / "deep" / "other").is_dir()
    assert (tmp_path / "deep" / "store" / "lockfile").exists()


def test_good_names_and_taken_ones(store):
    """Blanks and other letters are fine; a name is taken in both trees."""
    for name in ("my node", "élise", "x" * 200):
        store.create_local(name, _format)
    with pytest.raises(StoreError, match="NodeAlreadyExists"):
        store.create_remote("my node", PrivateKey(bytes(32)), RelayAddress(SELLER, NetAddress("b:2")))
    for step in (lambda: store.remove("nobody"), lambda: store.set_enabled("nobody", is_enabled=True)):
        with pytest.raises(StoreError, match="NodeDoesNotExist"):
            step()


def test_what_does_not_belong_there(store, tmp_path, caplog):
    """D92: stray files, half a node, the same name twice: named once, and the rest is used."""
    store.create_local("good", _format)
    root = tmp_path / "deep" / "store"
    (root / "local" / "stray").write_text("x")
    (root / "local" / "half").mkdir()
    (root / "local" / "half" / "node.db").write_text("x")
    store.create_remote("both", PrivateKey(bytes(32)), RelayAddress(SELLER, NetAddress("b:2")))
    (root / "remote" / "both").rename(root / "remote" / "good")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert list(store.entries()) == ["good"]
    assert isinstance(store.entry("good"), LocalEntry)
    assert sum("skipped" in record.message for record in caplog.records) == 3


def test_a_node_is_made_as_a_whole(store, tmp_path, monkeypatch):
    """An error in the middle leaves nothing behind, and the name stays free."""

    def fail(public_key: PublicKey) -> str:
        raise OSError(28, "No space left on device")

    with pytest.raises(StoreError, match="No space left"):
        store.create_local("a", fail)
    root = tmp_path / "deep" / "store"
    assert [path.name for path in root.rglob("*") if path.name not in ("lockfile", "local")] == []
    store.create_local("a", _format)
    monkeypatch.setattr(stores.shutil, "rmtree", lambda path, **options: None)
    store.remove("a")
    assert store.entries() == {}


def test_a_store_belongs_to_one_process(store, tmp_path):
    """And a path that can not be a store is an error of its own."""
    with pytest.raises(OpenFileStoreError, match="another process uses it"):
        Store(tmp_path / "deep" / "store")
    (tmp_path / "file").write_text("x")
    with pytest.raises(OpenFileStoreError):
        Store(tmp_path / "file")


def test_damage_is_named(store):
    """Of one node; the others are not concerned."""
    store.create_local("a", _format)
    entry = store.entry("a")
    path: Path = entry.directory / "compact.db"
    path.write_text("{}")
    with pytest.raises(InvalidInput, match="open_invoices"):
        store.load_compact(entry)
    os.unlink(path)
    with pytest.raises(Exception, match=r"compact\.db"):
        store.load_compact(entry)
