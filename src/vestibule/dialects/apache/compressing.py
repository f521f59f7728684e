"""mod_deflate and mod_brotli: which answers are compressed.

Facts: httpd compresses answers of any length, with zlib's own level unless told. A filter for some paths only is left out there.
"""

from __future__ import annotations

from collections.abc import Sequence

from vestibule.dialects.apache.pacing import RATE_LIMIT, filters_of
from vestibule.dialects.apache.scope import Scope, not_built
from vestibule.dialects.apache.sections import Section
from vestibule.dialects.apache.substituting import SUBSTITUTE
from vestibule.dialects.apache.tree import Directive
from vestibule.model.config import Compression

_FILTERS = ("deflate", "brotli_compress")
_USUAL_LEVEL = 6


def paces_only(directive: Directive) -> bool:
    """Tell whether a directive is about the pace of answers alone."""
    return directive.name == "setoutputfilter" and filters_of(directive) == [RATE_LIMIT]


def compression_of(scope: Scope, sections: Sequence[Section]) -> Compression | None:
    """Return what is compressed in a virtual host; None where nothing is."""
    types: list[str] = []
    scopes = [section.scope for section in sections if section.test is None]
    for directive in [
        *scope.all("AddOutputFilterByType", "SetOutputFilter"),
        *[each for inner in scopes for each in inner.own("AddOutputFilterByType", "SetOutputFilter")],
    ]:
        if paces_only(directive) or filters_of(directive) == [SUBSTITUTE]:
            continue
        if SUBSTITUTE in filters_of(directive) and "inflate" in filters_of(directive):
            hint = "write `RequestHeader unset Accept-Encoding`, and leave it out"
            not_built(scope.record, directive, 0, "unpacking answers", hint)
        elif not any(each in _FILTERS for each in filters_of(directive)):
            not_built(scope.record, directive, 0, f"the filter `{directive.text()}`", "have the application do it")
        elif directive.name == "setoutputfilter":
            types.append("*")
        else:
            types.extend([word.lower() for word in directive.texts[1:]])
    for section in sections:
        for directive in section.scope.own("AddOutputFilterByType", "SetOutputFilter"):
            if "inflate" in filters_of(directive):
                not_built(scope.record, directive, 0, "unpacking answers", "write `RequestHeader unset Accept-Encoding`, and leave it out")
            elif section.test is not None and not paces_only(directive) and filters_of(directive) != [SUBSTITUTE]:
                message = f"`{directive.written}` for a part of the paths is left out"
                scope.record.warning(directive.span, "left-out", message, "write it in the virtual host")
    if not types:
        return None
    level = scope.count("DeflateCompressionLevel", _USUAL_LEVEL)
    return Compression(("*",) if "*" in types else tuple(dict.fromkeys(types)), 0, level)
