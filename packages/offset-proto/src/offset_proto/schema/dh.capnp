# The secure channel. docs/protocol/02-transport.md §5.1.
@0xa7ec056ae12d5593;

using import "common.capnp".PublicKey;
using import "common.capnp".DhPublicKey;
using import "common.capnp".RandValue;
using import "common.capnp".Salt;
using import "common.capnp".Signature;

struct ExchangeRandNonce {
  randNonce @0 :RandValue;
  srcPublicKey @1 :PublicKey;
  optDestPublicKey :union {
    empty @2 :Void;
    publicKey @3 :PublicKey;
  }
}

struct ExchangeDh {
  dhPublicKey @0 :DhPublicKey;
  randNonce @1 :RandValue;
  keySalt @2 :Salt;
  signature @3 :Signature;
}

struct Rekey {
  dhPublicKey @0 :DhPublicKey;
  keySalt @1 :Salt;
}

struct ChannelContent {
  union {
    rekey @0 :Rekey;
    user @1 :Data;
  }
}

struct ChannelMessage {
  randPadding @0 :Data;
  content @1 :ChannelContent;
}
