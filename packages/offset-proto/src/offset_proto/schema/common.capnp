# Basic values shared by all messages. docs/protocol/01-crypto.md §9.3.
@0xbcd851c16e3f44ce;

# Byte strings travel as 64 bit words: xN holds bytes 8N..8N+7 read big-endian.
struct Buffer128 { x0 @0 :UInt64; x1 @1 :UInt64; }
struct Buffer256 { x0 @0 :UInt64; x1 @1 :UInt64; x2 @2 :UInt64; x3 @3 :UInt64; }
struct Buffer512 {
  x0 @0 :UInt64; x1 @1 :UInt64; x2 @2 :UInt64; x3 @3 :UInt64;
  x4 @4 :UInt64; x5 @5 :UInt64; x6 @6 :UInt64; x7 @7 :UInt64;
}

struct PublicKey { inner @0 :Buffer256; }
struct DhPublicKey { inner @0 :Buffer256; }
struct HashResult { inner @0 :Buffer256; }
struct InvoiceId { inner @0 :Buffer256; }
struct Salt { inner @0 :Buffer256; }
struct PlainLock { inner @0 :Buffer256; }
struct HashedLock { inner @0 :Buffer256; }
struct Signature { inner @0 :Buffer512; }
struct RandValue { inner @0 :Buffer128; }
struct Uid { inner @0 :Buffer128; }
struct PaymentId { inner @0 :Buffer128; }
struct CustomUInt128 { inner @0 :Buffer128; }
struct CustomInt128 { inner @0 :Buffer128; }

struct Rate { mul @0 :UInt32; add @1 :UInt32; }
struct NetAddress { address @0 :Text; }
struct Currency { currency @0 :Text; }

struct RelayAddress {
  publicKey @0 :PublicKey;
  address @1 :NetAddress;
}

struct NamedRelayAddress {
  publicKey @0 :PublicKey;
  address @1 :NetAddress;
  name @2 :Text;
}

struct NamedIndexServerAddress {
  publicKey @0 :PublicKey;
  address @1 :NetAddress;
  name @2 :Text;
}

struct Commit {
  responseHash @0 :HashResult;
  srcPlainLock @1 :PlainLock;
  destHashedLock @2 :HashedLock;
  destPayment @3 :CustomUInt128;
  totalDestPayment @4 :CustomUInt128;
  invoiceId @5 :InvoiceId;
  currency @6 :Currency;
  signature @7 :Signature;
}

struct Receipt {
  responseHash @0 :HashResult;
  invoiceId @1 :InvoiceId;
  currency @2 :Currency;
  srcPlainLock @3 :PlainLock;
  destPlainLock @4 :PlainLock;
  isComplete @5 :Bool;
  destPayment @6 :CustomUInt128;
  totalDestPayment @7 :CustomUInt128;
  signature @8 :Signature;
}
