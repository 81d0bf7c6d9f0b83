# Between a node and a relay. docs/protocol/03-relay.md §3.
@0xccef24a2bc5520ea;

using import "common.capnp".PublicKey;

struct InitConnection {
  union {
    listen @0 :Void;
    accept @1 :PublicKey;
    connect @2 :PublicKey;
  }
}

struct RejectConnection { publicKey @0 :PublicKey; }
struct IncomingConnection { publicKey @0 :PublicKey; }
