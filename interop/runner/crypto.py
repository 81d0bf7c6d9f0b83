"""Files of crypto/: hashes, exchange, encryption, identities."""

from typing import Any

from offset_crypto.aead import DecryptionFailed, Opener, Sealer
from offset_crypto.exchange import EphemeralKey, WeakKey
from offset_crypto.hashing import hash_lock, is_lower, sha512_256
from offset_crypto.identity import Identity, is_signature_valid
from offset_proto.types import DhPublicKey, PlainLock, PrivateKey, PublicKey, Salt, Signature, SymmetricKey

__all__ = ["RUNS"]


def _hex(value: str) -> bytes:
    return bytes.fromhex(value)


def _dh(inputs: dict[str, Any]) -> dict[str, Any]:
    key_a = EphemeralKey(_hex(inputs["privateA"]))
    salt_a, salt_b = Salt(_hex(inputs["saltA"])), Salt(_hex(inputs["saltB"]))
    key_b = EphemeralKey(_hex(inputs["privateB"])) if "privateB" in inputs else None
    remote = key_b.public_key if key_b else DhPublicKey(_hex(inputs["remotePublic"]))
    result = {"publicA": key_a.public_key.hex()}
    try:
        keys = key_a.derive(remote, local_salt=salt_a, remote_salt=salt_b)
    except WeakKey:
        return {**result, "error": None}
    result |= {"sendKeyA": keys.send.hex(), "recvKeyA": keys.receive.hex()}
    if key_b is not None:
        keys = key_b.derive(key_a.public_key, local_salt=salt_b, remote_salt=salt_a)
        result |= {
            "publicB": key_b.public_key.hex(),
            "sendKeyB": keys.send.hex(),
            "recvKeyB": keys.receive.hex(),
        }
    return result


def _symmetric(inputs: dict[str, Any]) -> dict[str, Any]:
    key = SymmetricKey(_hex(inputs["key"]))
    match inputs["kind"]:
        case "encrypt":
            sealer = Sealer(key)
            return {"encrypted": [sealer.seal(_hex(plain)).hex() for plain in inputs["plain"]]}
        case "decrypt":
            opener = Opener(key)
            return {"results": [_open(opener, _hex(frame)) for frame in inputs["frames"]]}
    raise ValueError(f"a kind of case that is not known: {inputs['kind']}")


def _open(opener: Opener, frame: bytes) -> dict[str, Any]:
    try:
        return {"ok": opener.open(frame).hex()}
    except DecryptionFailed:
        return {"error": None}


def _identity(inputs: dict[str, Any]) -> dict[str, Any]:
    if "privateKey" in inputs:
        identity = Identity(PrivateKey(_hex(inputs["privateKey"])))
        signatures = [identity.sign(_hex(message)).hex() for message in inputs["messages"]]
        return {"publicKey": identity.public_key.hex(), "signatures": signatures}
    key, signature = PublicKey(_hex(inputs["publicKey"])), Signature(_hex(inputs["signature"]))
    return {"valid": is_signature_valid(_hex(inputs["message"]), key, signature)}


def _compare(inputs: dict[str, Any]) -> dict[str, Any]:
    first, second = PublicKey(_hex(inputs["first"])), PublicKey(_hex(inputs["second"]))
    if is_lower(first, second):
        return {"order": "less"}
    return {"order": "greater" if is_lower(second, first) else "equal"}


RUNS = {
    "crypto/hash.json": lambda inputs: {"hash": sha512_256(_hex(inputs["data"])).hex()},
    "crypto/hash_lock.json": lambda inputs: {"hashedLock": hash_lock(PlainLock(_hex(inputs["plainLock"]))).hex()},
    "crypto/dh.json": _dh,
    "crypto/symmetric.json": _symmetric,
    "crypto/identity.json": _identity,
    "crypto/compare_public_key.json": _compare,
}
