"""The fuzz targets hold on their seeds, on what earlier runs found, and on some shuffled inputs; `scripts/fuzz` runs them longer."""

import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TARGETS = sorted(file.stem for file in (ROOT / "fuzz").glob("*.py") if "\ndef target(" in file.read_text())


@pytest.fixture(autouse=True)
def at_the_top(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))


@pytest.mark.parametrize("name", TARGETS)
def test_target(name: str) -> None:
    module = importlib.import_module(f"fuzz.{name}")
    drive = importlib.import_module("fuzz.drive")
    for found in importlib.import_module("fuzz.corpus").kept(name):
        module.target(found)
    drive.shuffle(module.target, module.SEEDS, module.WORDS, 300)


def test_what_is_kept_is_there_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = importlib.import_module("fuzz.corpus")
    monkeypatch.setattr(corpus, "KEPT", tmp_path / "corpus")
    monkeypatch.setattr(corpus, "KEPT_BYTES", 9)
    assert corpus.kept("a") == []
    assert corpus.keep("a", [b"12345", b"\n", b"ab"]) == 3
    assert corpus.kept("a") == [b"\n", b"ab", b"12345"]
    assert corpus.keep("a", [b"1234567", b"abc", b"12"]) == 2
    assert corpus.kept("a") == [b"12", b"abc"]


def test_a_dictionary_leaves_out_what_libfuzzer_does_not_take() -> None:
    dictionary = importlib.import_module("fuzz.drive").dictionary
    assert dictionary([b'a"', b"", b"x" * 65, b"\0\xff"]) == '"\\x61\\x22"\n"\\x00\\xff"\n'


def test_a_run_is_told_in_a_line() -> None:
    run = importlib.import_module("fuzz.__main__").Run
    told = "#2\tINITED cov: 10 ft: 11\n#4096\tpulse  cov: 12 ft: 14 corp: 3\nDone 5000\n"
    assert run("target", 0, told).line().split() == ["target", "survived", "4096", "inputs", "12", "branches"]
    assert run("target", 77, "").line().split() == ["target", "FAILED", "?", "inputs", "?", "branches"]


def test_a_target_that_does_not_survive_fails_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    everything = importlib.import_module("fuzz.__main__")
    monkeypatch.setattr(importlib.import_module("fuzz.corpus"), "WORK", tmp_path)
    monkeypatch.setattr(everything, "run", lambda name, options: everything.Run(name, int(name == "fields"), "the input"))
    monkeypatch.setattr(sys, "argv", ["fuzz", "--seconds", "1", "fields", "target"])
    assert everything.main() == 1
    said = capsys.readouterr().out
    assert "fields          FAILED" in said and "target          survived" in said and "the input" in said
    monkeypatch.setattr(sys, "argv", ["fuzz", "nothing"])
    with pytest.raises(SystemExit):
        everything.main()
