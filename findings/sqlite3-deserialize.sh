#!/usr/bin/env bash
# sqlite3 of CPython 3.11 (SQLite 3.40.1), seen on 2026-11-29.
#
# Guess:      what Connection.serialize() gives of a database, Connection.deserialize() opens again; what is no database
#             is refused by a sqlite3.Error.
# Behaviour:  a copy of a database with a write-ahead log, made in memory by Connection.backup(), keeps the mark of the
#             log in the bytes 18 and 19 of its image. Such an image is deserialized, and the first statement then
#             fails with "unable to open database file"; with both bytes set to 1 it works. Deserializing no bytes at
#             all raises MemoryError, which is no sqlite3.Error.
# Output:     mark of the log in the image: b'\x02\x02'
#             with the mark: OperationalError: unable to open database file
#             without it: [(1,)]
#             no bytes: MemoryError
#
# Fails when that changes.
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
cat > seen.py <<'PY'
import sqlite3

source = sqlite3.connect("source.db", isolation_level=None)
source.execute("PRAGMA journal_mode = WAL")
source.execute("CREATE TABLE kept (value)")
source.execute("INSERT INTO kept VALUES (1)")
copy = sqlite3.connect(":memory:")
source.backup(copy)
image = copy.serialize()
print("mark of the log in the image:", image[18:20])


def read(data: bytes) -> object:
    opened = sqlite3.connect(":memory:")
    try:
        opened.deserialize(data)
        return opened.execute("SELECT value FROM kept").fetchall()
    except sqlite3.Error as error:
        return f"{type(error).__name__}: {error}"
    except MemoryError:
        return "MemoryError"


print("with the mark:", read(image))
print("without it:", read(image[:18] + b"\x01\x01" + image[20:]))
print("no bytes:", read(b""))
PY
python3 seen.py > seen
cat seen
diff seen - <<'EXPECTED'
mark of the log in the image: b'\x02\x02'
with the mark: OperationalError: unable to open database file
without it: [(1,)]
no bytes: MemoryError
EXPECTED
