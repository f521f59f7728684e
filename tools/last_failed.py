"""Name the tests that failed in the last run of pytest in this folder: `last_failed.py [--most N]`.

Exits 0 if there are some and no more than N, 1 if not; without --most any number will do. What could not be collected
is a failure like any other.
"""

import argparse
import json
import sys
from pathlib import Path

STORE = Path(".pytest_cache", "v", "cache", "lastfailed")


def failed() -> list[str]:
    """Return the names that pytest kept, in their order."""
    try:
        return sorted(json.loads(STORE.read_text()))
    except FileNotFoundError:
        return []


def main() -> int:
    parser = argparse.ArgumentParser(prog="last_failed.py", description="Name the tests that failed in pytest's last run.")
    parser.add_argument("--most", type=int, metavar="N", help="how many may have failed")
    most = parser.parse_args().most
    names = failed()
    for name in names:
        print(f"failed: {name}")
    if most is not None and len(names) > most:
        print(f"{len(names)} tests failed, more than {most}: none is run again")
        return 1
    return 0 if names else 1


if __name__ == "__main__":
    sys.exit(main())
