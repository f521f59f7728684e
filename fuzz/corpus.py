"""The inputs that earlier runs of a target found worth breeding from.

Facts: each is there because it took a branch that none before it took. They are kept as a file a target, an input a line in base64,
the shortest first, so that a change of one shows as a change of one.

Rules: no more than `KEPT_BYTES` of input for a target: the longest are left out, and are found again.
"""

import base64
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).resolve().parent
WORK = HERE.parent / "build" / "fuzz"
"""Where a run has its corpora, and puts what a target did not survive."""

KEPT = HERE / "corpus"
KEPT_BYTES = 30_000


def kept(name: str) -> list[bytes]:
    """Return what is kept for a target."""
    file = KEPT / f"{name}.txt"
    return [base64.b64decode(line) for line in file.read_text().splitlines()] if file.exists() else []


def keep(name: str, found: Iterable[bytes]) -> int:
    """Keep these inputs for a target instead of those that were kept; return how many found room."""
    chosen: list[bytes] = []
    total = 0
    for data in sorted(found, key=lambda data: (len(data), data)):
        total += len(data)
        if total > KEPT_BYTES:
            break
        chosen.append(data)
    KEPT.mkdir(exist_ok=True)
    (KEPT / f"{name}.txt").write_text("".join(base64.b64encode(data).decode() + "\n" for data in chosen))
    return len(chosen)
