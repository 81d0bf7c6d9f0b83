"""
Where a browser is. One of the system is taken, or one that is installed here: by apt where this may, or by playwright.

    python -m interop.browser.finding

says what was found, and installs what is missing. On Debian, root gets one by apt; where that does not work, something
is wrong that somebody has to see to, and the status is 1. On any other machine the status is 0: what was tried and why
it did not work is said, and the tests skip.
"""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

__all__ = ["does_start", "find_browser", "install_browser", "is_due", "main"]

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
INSTALL_SECONDS: Final = 240
START_SECONDS: Final = 60


def find_browser() -> str | None:
    """The path of a browser that playwright can drive; None: there is none."""
    for name in NAMES:
        if (found := shutil.which(name)) and does_start(found):
            return found
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = Path(playwright.chromium.executable_path)
    return str(path) if path.exists() else None


def does_start(path: str) -> bool:
    """Whether it is a browser. On Ubuntu there is a program of this name that says how to install one, and ends."""
    try:
        done = subprocess.run([path, "--version"], capture_output=True, timeout=START_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def is_due() -> bool:
    """Whether this is a machine on which a browser can be installed for sure: Debian, with apt, for root."""
    try:
        system = platform.freedesktop_os_release()["ID"]
    except OSError:
        return False
    return system == "debian" and os.geteuid() == 0 and shutil.which("apt-get") is not None


def install_browser() -> list[str]:
    """Try to install one; why each way failed."""
    ways = [[sys.executable, "-m", "playwright", "install", "chromium"]]
    if os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium", "fonts-dejavu-core"]
        ways.insert(0, ["sh", "-c", f"apt-get update -qq && {' '.join(quiet)}"])
    reasons = []
    for way in ways:
        try:
            done = subprocess.run(way, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            reasons.append(f"{way[0]}: not done within {INSTALL_SECONDS} seconds")
            continue
        if done.returncode == 0:
            return []
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()
        reasons.append(f"{' '.join(way)[:80]}: {last[-1][:200] if last else f'status {done.returncode}'}")
    return reasons


def main() -> int:
    """Find a browser, or install one; returns the exit status."""
    found, reasons = find_browser(), []
    if found is None:
        reasons = install_browser()
        found = find_browser()
    if found is not None:
        print(f"browser: {found}")
        return 0
    why = "; ".join(reasons) or "what was installed does not start"
    if is_due():
        print(f"FAILED: there is no browser, and on Debian root can install one. {why}", file=sys.stderr)
        return 1
    print(f"SKIPPED: there is no browser on this machine, and none could be installed. {why}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
