"""What dialects share."""

from __future__ import annotations

import pytest

from vestibule.dialects.read import Loaded, Unreadable, place_of, read_nothing
from vestibule.model.config import Config
from vestibule.model.diagnostic import Span, error, warning


@pytest.mark.parametrize(("offset", "place"), [(0, (1, 1)), (2, (1, 3)), (3, (2, 1)), (4, (3, 1)), (6, (3, 3))])
def test_offsets_are_lines_and_columns(offset: int, place: tuple[int, int]) -> None:
    assert place_of("ab\n\ncd", offset) == place


def test_a_model_is_usable_unless_an_error_forbids() -> None:
    config = Config((), (), ())
    assert Loaded(config, ()).ok
    assert Loaded(config, (warning(Span(), "x", "odd"),)).ok
    assert not Loaded(config, (error(Span(), "x", "wrong"),)).ok
    assert not Loaded(None, ()).ok


def test_a_text_that_stands_alone_reads_no_file() -> None:
    with pytest.raises(FileNotFoundError, match=r"other\.conf"):
        read_nothing("other.conf")


def test_what_cannot_be_read_says_what_and_how_to_mend_it() -> None:
    bad = Unreadable("not-built", "`x`: not built yet", "write the value")
    assert (bad.code, bad.message, bad.hint, str(bad)) == ("not-built", "`x`: not built yet", "write the value", "`x`: not built yet")
