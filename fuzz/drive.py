"""Run a fuzz target: with atheris where it is installed, else with Hypothesis.

Facts: atheris watches which branches an input takes and breeds from those that take new ones; Hypothesis only
shuffles the seeds' words. Both end at the first input that the target does not survive.

    python -m fuzz.h1_request -max_total_time=60     atheris: options of libFuzzer
    python -m fuzz.h1_request 5000                   Hypothesis: so many examples

Not here: all targets one after the other, and what is kept of their corpora (`fuzz/__main__.py`).
"""

import gc
import hashlib
import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz import corpus

Target = Callable[[bytes], None]
EXAMPLES = 2_000

_WORD_MOST = 64  # what libFuzzer takes into a dictionary


def inputs(seeds: Sequence[bytes], words: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Return inputs made of the words of a grammar, of bytes, and of seeds with a piece put in somewhere."""
    # Not `st.binary`: under -bb its empty value may meet an integer of the same hash in a table of Hypothesis.
    odd = st.lists(st.integers(0, 255), max_size=4).map(bytes)
    piece = st.one_of(st.sampled_from(list(words)), odd)
    text = st.lists(piece, max_size=30).map(b"".join)

    def put_in(seed: bytes, at: int, cut: int, new: bytes) -> bytes:
        at %= len(seed) + 1
        return seed[:at] + new + seed[at + cut :]

    spoiled = st.builds(put_in, st.sampled_from(list(seeds)), st.integers(0, 10_000), st.integers(0, 6), text)
    return st.one_of(text, spoiled)


def shuffle(target: Target, seeds: Sequence[bytes], words: Sequence[bytes], examples: int) -> None:
    """Run a target on its seeds and on so many examples that Hypothesis makes of them."""
    for seed in seeds:
        target(seed)

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(inputs(seeds, words))
    def run(data: bytes) -> None:
        target(data)

    run()


def dictionary(words: Sequence[bytes]) -> str:
    """Return words as libFuzzer reads them from a file."""
    lines = ['"' + "".join(f"\\x{byte:02x}" for byte in word) + '"' for word in words if 0 < len(word) <= _WORD_MOST]
    return "\n".join(lines) + "\n"


def main(target: Target, seeds: Sequence[bytes], words: Sequence[bytes]) -> None:
    """Run a target as the command line says."""
    try:
        import atheris  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError:
        shuffle(target, seeds, words, int(sys.argv[1]) if len(sys.argv) > 1 else EXAMPLES)
        return
    name = Path(sys.argv[0]).stem
    folder = corpus.WORK / name
    folder.mkdir(parents=True, exist_ok=True)
    for seed in [*seeds, *corpus.kept(name)]:
        (folder / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    words_file = corpus.WORK / f"{name}.dict"
    words_file.write_text(dictionary(words))
    for each in gc.get_objects():
        if inspect.isfunction(each) and str(each.__module__).startswith(("vestibule.", "fuzz.")):
            atheris.instrument_func(each)
    options = [f"-dict={words_file}", f"-artifact_prefix={corpus.WORK}/{name}-found-", *sys.argv[1:]]
    atheris.Setup([sys.argv[0], *options, str(folder)], target)
    atheris.Fuzz()
