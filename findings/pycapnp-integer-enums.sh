#!/usr/bin/env bash
# pycapnp 2.2.4, seen on 2026-11-29.
#
# Guess:      whatever Python takes for an int can be assigned to an integer field, as struct.pack and int.to_bytes take it.
#             Members of an IntFlag or IntEnum are ints: isinstance says so, and a type checker lets them pass.
# Behaviour:  a field of type UInt64 takes 5, and refuses a member of an IntEnum or IntFlag of that value, and True, with a
#             KjException about the type. int(member) is taken.
# Output:     int: 5
#             bool: KjException
#             IntEnum: KjException
#             IntFlag: KjException
#             int(IntFlag): 5
#
# Fails when that changes.
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/venv"
"$directory/venv/bin/pip" install -q 'pycapnp==2.2.4'
cd "$directory"
echo '@0xbf5147cbbecf40c1; struct Number { value @0 :UInt64; }' > number.capnp
cat > try.py <<'PY'
import enum

import capnp

capnp.remove_import_hook()
Number = capnp.load("number.capnp").Number
Kind = enum.IntEnum("Kind", {"FIVE": 5})
Flag = enum.IntFlag("Flag", {"ONE": 1, "FOUR": 4})
values = {
    "int": 5,
    "bool": True,
    "IntEnum": Kind.FIVE,
    "IntFlag": Flag.ONE | Flag.FOUR,
    "int(IntFlag)": int(Flag.ONE | Flag.FOUR),
}
for name, value in values.items():
    assert isinstance(value, int)
    message = Number.new_message()
    try:
        message.value = value
        print(f"{name}: {message.value}")
    except capnp.KjException as error:
        assert "type" in str(error)
        print(f"{name}: KjException")
PY
venv/bin/python try.py | tee seen
[ "$(cat seen)" = "int: 5
bool: KjException
IntEnum: KjException
IntFlag: KjException
int(IntFlag): 5" ]
