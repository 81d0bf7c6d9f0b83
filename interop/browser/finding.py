"""
Where a browser is. One of the system is taken, or one that is installed here: by apt where this may, or by playwright.

    python -m interop.browser.finding

says what was found, and installs what is missing. Its status is 0 in any case: the tests skip where there is none, and
say why.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

__all__ = ["find_browser", "install_browser"]

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
INSTALL_SECONDS: Final = 90


def find_browser() -> str | None:
    """The path of a browser that playwright can drive; None: there is none."""
    for name in NAMES:
        if found := shutil.which(name):
            return found
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = Path(playwright.chromium.executable_path)
    return str(path) if path.exists() else None


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


def main() -> None:
    """Find a browser, or install one."""
    found = find_browser()
    if found is None:
        for reason in install_browser():
            print(reason)
        found = find_browser()
    print(f"browser: {found or 'none, so its tests skip'}")


if __name__ == "__main__":
    main()
