"""A file that is looked at from time to time."""

import asyncio
import os
from pathlib import Path

import pytest

from vestibule.control import watch


async def _signals(steps: list[str | None], file: Path, watched: Path | None, told: list[int]) -> list[int]:
    """Return how often a reload was asked for after each step: a new text of the file, or that it is away."""
    counts: list[int] = []
    looking = watch.Watch(watched)
    looking.begin()
    await asyncio.sleep(0.02)
    for at, text in enumerate(steps):
        if text is None:
            file.unlink()
        else:
            file.write_text(text)
            os.utime(file, ns=(at * 10**9, at * 10**9 + 1))
        await asyncio.sleep(0.05)
        counts.append(len(told))
    return counts


@pytest.mark.parametrize(("is_watched", "counts"), [(True, [1, 1, 2]), (False, [0, 0, 0])])
def test_a_change_is_told_once(is_watched: bool, counts: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    monkeypatch.setattr(watch, "WATCH_S", 0.005)
    monkeypatch.setattr(watch.os, "kill", lambda pid, number: told.append(number))
    file = tmp_path / "Caddyfile"
    file.write_text("one")
    steps = ["two", None, "three"]
    assert asyncio.run(_signals(steps, file, file if is_watched else None, told)) == counts
