"""Make `src/vestibule/http/hpack_tables.py` from the facts of RFC 7541.

Facts: the Huffman code of appendix B is canonical: codes of one length are consecutive in the order of
their symbols, and the first code of a length follows the last one of the shorter length, shifted. So
the lengths alone are the code. The static table is appendix A.

Usage: `make_hpack_tables.py` writes the file, `make_hpack_tables.py --check` compares (exit status 1).
"""

import sys
from pathlib import Path

PLACE = Path(__file__).resolve().parent.parent / "src" / "vestibule" / "http" / "hpack_tables.py"

EOS = 256

# Symbols by the length of their code (RFC 7541 appendix B); ranges have both ends in.
SYMBOLS: dict[int, str] = {
    5: "48-50 97 99 101 105 111 115-116",
    6: "32 37 45-47 51-57 61 65 95 98 100 102-104 108-110 112 114 117",
    7: "58 66-87 89 106-107 113 118-122",
    8: "38 42 44 59 88 90",
    10: "33-34 40-41 63",
    11: "39 43 124",
    12: "35 62",
    13: "0 36 64 91 93 126",
    14: "94 125",
    15: "60 96 123",
    19: "92 195 208",
    20: "128 130-131 162 184 194 224 226",
    21: "153 161 167 172 176-177 179 209 216-217 227 229-230",
    22: "129 132-134 136 146 154 156 160 163-164 169-170 173 178 181 185-187 189-190 196 198 228 232-233",
    23: "1 135 137-141 143 147 149-152 155 157-158 165-166 168 174-175 180 182-183 188 191 197 231 239",
    24: "9 142 144-145 148 159 171 206 215 225 236-237",
    25: "199 207 234-235",
    26: "192-193 200-202 205 210 213 218-219 238 240 242-243 255",
    27: "203-204 211-212 214 221-223 241 244-248 250-254",
    28: "2-8 11-12 14-21 23-31 127 220 249",
    30: "10 13 22 256",
}

# Appendix A, in order from index 1: a name, or name=value.
STATIC = """
:authority :method=GET :method=POST :path=/ :path=/index.html :scheme=http :scheme=https
:status=200 :status=204 :status=206 :status=304 :status=400 :status=404 :status=500
accept-charset accept-encoding=gzip,~deflate accept-language accept-ranges accept access-control-allow-origin
age allow authorization cache-control content-disposition content-encoding content-language content-length
content-location content-range content-type cookie date etag expect expires from host if-match
if-modified-since if-none-match if-range if-unmodified-since last-modified link location max-forwards
proxy-authenticate proxy-authorization range referer refresh retry-after server set-cookie
strict-transport-security transfer-encoding user-agent vary via www-authenticate
"""

HEADER = '''"""The tables of RFC 7541: appendix A (static table) and appendix B (Huffman code).

Made by tools/make_hpack_tables.py, which checks it too (`--check`); do not edit.
"""

from typing import Final

'''


def lengths() -> list[int]:
    """Return the code length of each of the 257 symbols."""
    found: dict[int, int] = {}
    for length, text in SYMBOLS.items():
        for part in text.split():
            first, _, last = part.partition("-")
            for symbol in range(int(first), int(last or first) + 1):
                found[symbol] = length
    if sorted(found) != list(range(EOS + 1)):
        raise SystemExit("the lengths do not name each symbol once")
    return [found[symbol] for symbol in range(EOS + 1)]


def codes(sizes: list[int]) -> list[int]:
    """Return the canonical code for these lengths; a code that is not complete is refused (Kraft's sum must be 1)."""
    if sum(2.0**-size for size in sizes) != 1.0:
        raise SystemExit("the lengths make no complete code")
    result = [0] * len(sizes)
    code = 0
    last = 0
    for symbol in sorted(range(len(sizes)), key=lambda symbol: (sizes[symbol], symbol)):
        code <<= sizes[symbol] - last
        last = sizes[symbol]
        result[symbol] = code
        code += 1
    return result


def rows(numbers: list[int], form: str) -> str:
    """Lay numbers out in lines of eight."""
    lines = []
    for at in range(0, len(numbers), 8):
        lines.append("    " + ", ".join(form.format(number) for number in numbers[at : at + 8]) + ",\n")
    return "".join(lines)


def render() -> str:
    """Return the text of the module."""
    sizes = lengths()
    out = [HEADER, "# Index 1 is the first; index 0 is not used (RFC 7541 2.3.1).\n"]
    out.append('STATIC: Final[list[tuple[bytes, bytes]]] = [\n    (b"", b""),\n')
    entries = STATIC.split()
    if len(entries) != 61:
        raise SystemExit(f"{len(entries)} entries in the static table")
    for entry in entries:
        name, _, value = entry.partition("=")
        value = value.replace("~", " ")
        out.append(f'    (b"{name}", b"{value}"),\n')
    out.append("]\n\n# Codes by symbol, right-aligned, and their lengths in bits; symbol 256 is EOS.\n# fmt: off\n")
    out.append("HUFFMAN_CODES: Final[list[int]] = [\n" + rows(codes(sizes), "0x{:X}") + "]\n\n")
    out.append("HUFFMAN_LENGTHS: Final[list[int]] = [\n" + rows(sizes, "{}") + "]\n# fmt: on\n")
    return "".join(out)


def main() -> int:
    text = render()
    if "--check" in sys.argv[1:]:
        if PLACE.read_text() != text:
            print(f"{PLACE.name} is not what tools/make_hpack_tables.py makes: run it")
            return 1
        return 0
    PLACE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
