"""Numbers as they stand on the wire, read by their own grammar.

Facts: `int()` takes signs, underscores, blanks and foreign digits; HTTP takes none of these
(RFC 9110 8.6, RFC 9112 7.1). Two hops that read one number differently are a smuggling hole.
"""

from typing import Final

# More digits than any body has: 10^15 bytes are a petabyte, 16^14 rather more.
_DECIMAL_MOST: Final = 15
_HEX_MOST: Final = 14


def parse_decimal(text: bytes) -> int:
    """Return the value of 1*DIGIT without leading zeros, or -1 if it is anything else."""
    size = len(text)
    if size == 0 or size > _DECIMAL_MOST:
        return -1
    if text[0] == 48 and size > 1:
        return -1
    value = 0
    for c in text:
        if c < 48 or c > 57:
            return -1
        value = value * 10 + (c - 48)
    return value


def parse_hex(text: bytes) -> int:
    """Return the value of 1*HEXDIG, or -1 if it is anything else (RFC 9112 7.1 chunk-size)."""
    size = len(text)
    if size == 0 or size > _HEX_MOST:
        return -1
    value = 0
    for c in text:
        if 48 <= c <= 57:
            digit = c - 48
        elif 97 <= c <= 102:
            digit = c - 87
        elif 65 <= c <= 70:
            digit = c - 55
        else:
            return -1
        value = value * 16 + digit
    return value
