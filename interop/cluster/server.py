"""
Where PostgreSQL is, and a server of it for tests, in a folder and on a socket of its own.

    python -m interop.cluster.server

says what was found, and installs what is missing where apt may. Its status is 0 in any case: the tests skip where there
is none, and say why.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import psycopg

from interop.programs import wait_until

__all__ = ["PostgresServer", "find_postgres", "install_postgres"]

INSTALL_SECONDS: Final = 120
START_SECONDS: Final = 60
STOP_SECONDS: Final = 30
_USER: Final = "tester"
_DEBIAN: Final = Path("/usr/lib/postgresql")
_UNPRIVILEGED: Final = ("postgres", "nobody")


def find_postgres() -> Path | None:
    """The directory of PostgreSQL's programs: from the PATH, or the newest that Debian's package installed."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    there = [path.parent for path in _DEBIAN.glob("*/bin/initdb")]
    return max(there, key=lambda path: int(path.parent.name), default=None)


def install_postgres() -> str:
    """Try to install it; why that failed, empty where it did not."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return "only root can install it, by apt-get"
    # Debian's package would make a server of the machine, and start it.
    quiet = "apt-get update -qq && apt-get install -y -qq --no-install-recommends"
    script = (
        f"{quiet} postgresql-common && echo 'create_main_cluster = false' >> /etc/postgresql-common/createcluster.conf"
        f" && {quiet} postgresql"
    )
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", script],
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        )
    except subprocess.TimeoutExpired:
        return f"not installed within {INSTALL_SECONDS} seconds"
    last = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return "" if done.returncode == 0 else f"apt-get: {last[-1][:200] if last else done.returncode}"


class PostgresServer:
    """
    A server of its own, which ends with its ``with`` block. It refuses root: for root an unprivileged user runs it.

    Args:
        programs: Where PostgreSQL's are.
        port: On loopback, where it is to be reached as well; None: by its socket alone.

    Attributes:
        process: The server.
        programs: As above.
    """

    process: "subprocess.Popen[bytes]"

    def __init__(self, programs: Path, port: int | None = None) -> None:
        self.programs = programs
        self._port = port
        self._directory = Path(tempfile.mkdtemp(prefix="offset-postgres-"))
        self._databases = 0
        self._user = None
        if os.geteuid() == 0:
            known = {entry.pw_name for entry in pwd.getpwall()}
            self._user = next(name for name in _UNPRIVILEGED if name in known)
            shutil.chown(self._directory, self._user)

    def __enter__(self) -> "PostgresServer":
        initdb: list[str | Path] = [self.programs / "initdb", "-D", self._directory / "data", "-U", _USER]
        initdb += ["-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run(initdb, check=True, capture_output=True, user=self._user, cwd="/")
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
        shutil.rmtree(self._directory)

    def start(self) -> None:
        """Start it; returns when it answers."""
        settings = [
            *(["listen_addresses="] if self._port is None else ["listen_addresses=127.0.0.1", f"port={self._port}"]),
            f"unix_socket_directories={self._directory}",
            "fsync=off",
            "shared_buffers=16MB",
        ]
        options = [word for setting in settings for word in ("-c", setting)]
        command: list[str | Path] = [self.programs / "postgres", "-D", self._directory / "data", *options]
        with (self._directory / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log, stdout=log, user=self._user, cwd="/")
        wait_until("PostgreSQL to answer", self._answers, START_SECONDS)

    def _answers(self) -> bool:
        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            assert self.process.poll() is None, (self._directory / "log").read_text()
            return False
        return True

    def stop(self) -> None:
        """End it at once, as after an error of its own; what was committed is there when it starts again."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
        self.process.wait(STOP_SECONDS)

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self._directory / f".s.PGSQL.{self._port or 5432}"

    def address(self, database: str = "postgres") -> str:
        """Where one of its databases is."""
        return f"postgresql://{_USER}@/{database}?host={self._directory}&port={self._port or 5432}"

    @staticmethod
    def address_at(port: int, database: str) -> str:
        """The same at a port of loopback, where it listens itself or somebody stands before it."""
        return f"postgresql://{_USER}@127.0.0.1:{port}/{database}"

    def new_database(self, *options: str) -> str:
        """The address of a new database, which is empty."""
        self._databases += 1
        name = f"test{self._databases}"
        self.execute(" ".join([f"CREATE DATABASE {name}", *options]))
        return self.address(name)

    def execute(self, statement: str, address: str | None = None) -> list[tuple[object, ...]]:
        """Carry a statement out as the superuser, in a transaction of its own; its rows."""
        with psycopg.connect(address or self.address(), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def disconnect(self, address: str) -> int:
        """Hang up on all who are connected to a database; how many they were."""
        name = address.partition("@/")[2].partition("?")[0]
        return len(
            self.execute(
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
                " AND pid <> pg_backend_pid()"
            )
        )


def main() -> None:
    """Find PostgreSQL, or install it."""
    found = find_postgres()
    if found is None:
        print(install_postgres())
        found = find_postgres()
    print(f"PostgreSQL: {found or 'none, so its tests skip'}")


if __name__ == "__main__":
    main()
