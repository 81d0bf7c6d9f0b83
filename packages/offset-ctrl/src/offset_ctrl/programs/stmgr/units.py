"""
Units of systemd for the servers, as ``stmgr setup-… --systemd`` writes them. Pure.

A server needs little: its directory, its port, and the network. All else is taken away, so that what a stranger could
do through a defect stays small. ``systemd-analyze security`` says how much is left; a test keeps that below 3 of 10.
The program says by itself when it listens and that its event loop answers (`offset_crypto.supervision`).

What has been left open, and why:

===========================  ===========================================================================
the network                  everybody may connect, and a node connects to relays anywhere
``ProtectHome``              read-only, since the programs and the directory may be in a home
``RestrictAddressFamilies``  unix as well: names are resolved, and systemd is told, through such sockets
===========================  ===========================================================================
"""

import shlex
from typing import Final

__all__ = ["format_unit"]

_UNIT: Final = """\
# To let systemd run it, from now on and after each start of the machine:
#     sudo cp {file} /etc/systemd/system/
#     sudo systemctl enable --now {name}
[Unit]
Description={description}
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
User={user}
ExecStart={program} --config {config}
Restart=on-failure
RestartSec=5
WatchdogSec=60
TimeoutStopSec=60
LimitNOFILE=65536
LimitCORE=0
# The passphrase of a locked identity, in a file that root alone can read:
# LoadCredential=offset-passphrase:/etc/offset/passphrase

UMask=0077
ProtectSystem=strict
ProtectHome=read-only
{paths}={directory}
PrivateTmp=yes
PrivateDevices=yes
DevicePolicy=closed
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
RestrictSUIDSGID=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
LockPersonality=yes
MemoryDenyWriteExecute=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProcSubset=pid
PrivateUsers=yes
RemoveIPC=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""


def format_unit(
    *, name: str, description: str, user: str, program: str, config: str, directory: str, writes: bool
) -> str:
    """
    The text of a unit.

    Args:
        name: Of the unit, with ``.service``.
        description: What it runs; one line.
        user: Who runs it, and owns the directory.
        program, config, directory: Absolute paths of the program, of its settings, and of what it needs.
        writes: Whether it writes into the directory.
    """
    return _UNIT.format(
        file=shlex.quote(f"{directory}/{name}"),
        name=name,
        description=_doubled(description),
        user=user,
        program=_quoted(program),
        config=_quoted(config).replace("$", "$$"),
        directory=_quoted(directory),
        paths="ReadWritePaths" if writes else "ReadOnlyPaths",
    )


def _doubled(text: str) -> str:
    """*text* where systemd replaces specifiers, such as ``%h`` (systemd.unit(5))."""
    return text.replace("%", "%%")


def _quoted(path: str) -> str:
    """*path* as one word (systemd.syntax(7))."""
    escaped = _doubled(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"' if escaped != path or " " in path else path
