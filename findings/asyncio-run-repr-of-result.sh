#!/usr/bin/env bash
# asyncio.run of CPython 3.11.7 and 3.12.1 (not of 3.13.0), seen on 2026-11-30.
#
# Guess:      asyncio.run(main()) gives what main returns, and looks at nothing of it: to return a large state from a
#             coroutine costs a reference.
# Behaviour:  up to Python 3.12 it makes the repr of the result, twice, and throws both away. Its handler of SIGINT is a
#             partial that holds the task; when the work is done, signal.getsignal and signal.signal try whether the
#             handler is a member of an enumeration, and the ValueError that says no has the repr of the handler in its
#             text: of the task, and so of its result. For a dataclass with 10,000 rows this took as long as to read
#             them from a database. loop.run_until_complete does not do it, nor does asyncio.run where the coroutine
#             leaves its result elsewhere.
# Output:     3.11: reprs of the result: 2
#             3.12: reprs of the result: 2
#             3.13: reprs of the result: 0
#
# Fails when that changes.
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
cat > seen.py <<'PY'
import asyncio
import sys


class Result:
    reprs = 0

    def __repr__(self) -> str:
        Result.reprs += 1
        return "Result()"


async def main() -> Result:
    return Result()


asyncio.run(main())
print(f"{sys.version_info.major}.{sys.version_info.minor}: reprs of the result: {Result.reprs}")
PY
# Whichever of the three are there; 3.11 or later has to be.
touch seen
for python in python3 python3.11 python3.12 python3.13; do
    if "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2> /dev/null; then
        "$python" seen.py >> seen
    fi
done
sort -u seen | tee all
[ -s all ]
! grep -vx -e '3.1[12]: reprs of the result: 2' -e '3.13: reprs of the result: 0' all
