"""Tell whether a built copy of the package is as new as the sources: `is_current.py FOLDER [--mark]`.

Exits 0 if the folder was marked for just these sources, 1 if not; with --mark it marks.
"""

import hashlib
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent


def fingerprint() -> str:
    """Return a digest of everything a build reads."""
    digest = hashlib.sha256()
    for path in [TOP / "pyproject.toml", TOP / "setup.py", *sorted((TOP / "src").rglob("*.py"))]:
        digest.update(str(path.relative_to(TOP)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def main() -> int:
    mark = Path(sys.argv[1]) / "sources.sha256"
    if "--mark" in sys.argv[2:]:
        mark.write_text(fingerprint())
        return 0
    return 0 if mark.is_file() and mark.read_text() == fingerprint() else 1


if __name__ == "__main__":
    sys.exit(main())
