"""Run all fuzz targets, or those that are named, each for so many seconds, as many side by side as there are cores.

    python -m fuzz [--seconds 60] [--keep] [NAME…]

It ends with status 1 if a target did not survive an input, and says where that input lies. `--keep` then keeps
what was bred in `fuzz/corpus`.

Facts: without atheris nothing is bred; that is said, and the targets run on shuffled seeds for as many examples.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from fuzz import corpus

# One input may take so long, whatever it is, and a target may hold so much.
_INPUT_S = 60
_RESIDENT_MB = 4_000

# Without atheris: an example takes about a millisecond.
_EXAMPLES_PER_SECOND = 100


@dataclass(frozen=True)
class Run:
    """How a target fared."""

    name: str
    status: int
    told: str

    def line(self) -> str:
        """Return one line about it."""
        runs = re.findall(r"^#(\d+)\s.*?cov: (\d+)", self.told, re.MULTILINE)
        count, branches = runs[-1] if runs else ("?", "?")
        return f"{self.name:15} {'survived' if not self.status else 'FAILED':8} {count:>10} inputs {branches:>6} branches"


def targets() -> list[str]:
    """Return the names of all targets."""
    return sorted(file.stem for file in corpus.HERE.glob("*.py") if "\ndef target(" in file.read_text())


def run(name: str, options: list[str]) -> Run:
    """Run one target."""
    done = subprocess.run([sys.executable, "-m", f"fuzz.{name}", *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    told = done.stdout.decode("utf-8", "replace")
    (corpus.WORK / f"{name}.log").write_text(told)
    return Run(name, done.returncode, told)


def fuzz(name: str, seconds: int, bred: bool) -> Run:
    """Run one target for so many seconds."""
    if not bred:
        return run(name, [str(seconds * _EXAMPLES_PER_SECOND)])
    return run(name, [f"-max_total_time={seconds}", f"-timeout={_INPUT_S}", f"-rss_limit_mb={_RESIDENT_MB}"])


def keep(name: str) -> None:
    """Keep what a run bred: libFuzzer leaves only inputs that took a branch which none before them took."""
    seeds = set(importlib.import_module(f"fuzz.{name}").SEEDS)
    found = {file.read_bytes() for file in (corpus.WORK / name).iterdir()}
    print(f"{name}: {corpus.keep(name, found - seeds)} of {len(found - seeds)} inputs kept")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description="Run fuzz targets.")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--keep", action="store_true", help="keep the corpora that come of it")
    parser.add_argument("names", nargs="*", metavar="NAME", default=[])
    asked = parser.parse_args()
    unknown = sorted(set(asked.names) - set(targets()))
    if unknown:
        parser.error(f"no target is named {', '.join(unknown)}; there are {', '.join(targets())}")
    bred = importlib.util.find_spec("atheris") is not None
    if not bred:
        print("atheris is not installed: shuffled seeds only")
    corpus.WORK.mkdir(parents=True, exist_ok=True)
    failed = 0
    began = time.monotonic()
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for each in pool.map(lambda name: fuzz(name, asked.seconds, bred), asked.names or targets()):
            print(each.line(), flush=True)
            if each.status:
                failed += 1
                print(each.told[-3_000:], flush=True)
        if asked.keep and bred and not failed:
            for name in asked.names or targets():
                keep(name)
    print(f"{time.monotonic() - began:.0f} s" + (f"; what was not survived lies in {corpus.WORK}" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
