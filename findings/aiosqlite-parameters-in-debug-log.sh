#!/usr/bin/env bash
# aiosqlite 0.22.1 (with CPython 3.11), seen on 2026-11-27.
#
# Guess:      a database driver logs at DEBUG what it executes, with placeholders; the values that are bound stay out of
#             the log, as they do with the standard library's own trace callback unless it is asked to expand them.
# Behaviour:  each call is logged at DEBUG by the repr of a functools.partial, which holds all bound values. A program that
#             sets the root logger to DEBUG for one hour writes every secret that it stores in that hour into its log.
#             Setting the level of the logger "aiosqlite" to INFO ends that.
# Output:     DEBUG: value in the log: True
#             INFO for aiosqlite: value in the log: False
#
# Fails when that changes.
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/venv"
"$directory/venv/bin/pip" install -q 'aiosqlite==0.22.1'
cat > "$directory/seen.py" <<'PY'
import asyncio
import io
import logging

import aiosqlite

log = io.StringIO()
logging.basicConfig(level=logging.DEBUG, stream=log)


async def store(value: str) -> None:
    async with aiosqlite.connect(":memory:") as database:
        await database.execute("CREATE TABLE kept (value TEXT)")
        await database.execute("INSERT INTO kept VALUES (?)", (value,))


asyncio.run(store("a-secret-of-ours"))
print("DEBUG: value in the log:", "a-secret-of-ours" in log.getvalue())
logging.getLogger("aiosqlite").setLevel(logging.INFO)
asyncio.run(store("another-secret"))
print("INFO for aiosqlite: value in the log:", "another-secret" in log.getvalue())
PY
seen=$("$directory/venv/bin/python" "$directory/seen.py")
echo "$seen"
[ "$seen" = "DEBUG: value in the log: True
INFO for aiosqlite: value in the log: False" ]
