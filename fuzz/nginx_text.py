"""Any text in nginx's language. Permitted exits and invariants: those of `texts`."""

from fuzz.drive import main
from fuzz.texts import check_text, seeds_of, words_of
from vestibule.dialects.nginx import parse

SEEDS = seeds_of("nginx")
WORDS = words_of(SEEDS)


def target(data: bytes) -> None:
    check_text(parse, data)


if __name__ == "__main__":
    main(target, SEEDS, WORDS)
