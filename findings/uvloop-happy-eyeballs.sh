#!/usr/bin/env bash
# uvloop 0.23.0, seen on 2026-11-29.
#
# Guess:      uvloop's loop takes what asyncio's takes, so create_connection has happy_eyeballs_delay (Python 3.8 and later), and a
#             name whose first address does not answer is reached by another one.
# Behaviour:  create_connection of uvloop's loop has no such argument: a TypeError. Without it the addresses of a name are tried one
#             after the other, each until it fails. (aiohappyeyeballs makes the socket, and works with both loops.)
# Output:     asyncio: connected
#             uvloop: TypeError
#
# Fails when that changes.
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/venv"
"$directory/venv/bin/pip" install -q 'uvloop==0.23.0'
cd "$directory"
cat > try.py <<'PY'
import asyncio

import uvloop


async def attempt() -> str:
    async def accept(reader, writer):
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        try:
            transport, _ = await asyncio.get_running_loop().create_connection(
                asyncio.Protocol, "127.0.0.1", port, happy_eyeballs_delay=0.25
            )
        except TypeError as error:
            assert "happy_eyeballs_delay" in str(error)
            return "TypeError"
        transport.close()
        await asyncio.sleep(0.1)
        return "connected"


print("asyncio:", asyncio.run(attempt()))
print("uvloop:", uvloop.run(attempt()))
PY
venv/bin/python try.py | tee seen
[ "$(cat seen)" = "asyncio: connected
uvloop: TypeError" ]
