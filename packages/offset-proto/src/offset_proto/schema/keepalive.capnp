# The keepalive layer. docs/protocol/02-transport.md §7.
@0x9fb474aba32a63d1;

struct KaMessage {
  union {
    keepAlive @0 :Void;
    message @1 :Data;
  }
}
