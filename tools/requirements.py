"""Print what pyproject.toml asks for, one requirement a line: the runtime's, and those of the extras named.

    python tools/requirements.py test check

Lets the scripts install what a run from the source tree needs without building the package.
"""

import sys
import tomllib
from pathlib import Path


def requirements(extras: list[str]) -> list[str]:
    """Return the requirements. Raises KeyError for an extra that does not exist."""
    project = tomllib.loads((Path(__file__).resolve().parent.parent / "pyproject.toml").read_text())["project"]
    wanted = list(project["dependencies"])
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    return wanted


if __name__ == "__main__":
    print("\n".join(requirements(sys.argv[1:])))
