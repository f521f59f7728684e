"""The fuzz targets hold on their seeds and on a few hundred shuffled ones; longer runs are `python -m fuzz.NAME`."""

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TARGETS = sorted(file.stem for file in (ROOT / "fuzz").glob("*.py") if "def target(" in file.read_text())


@pytest.mark.parametrize("name", TARGETS)
def test_target(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    module = importlib.import_module(f"fuzz.{name}")
    drive = importlib.import_module("fuzz.drive")
    drive.shuffle(module.target, module.SEEDS, module.WORDS, 300)
