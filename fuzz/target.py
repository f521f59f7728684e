"""Any bytes as a request target, an authority or a path. Permitted exit: `ProtocolError` with the fault of that part.

Invariants
  1. A normal path has no dot segment, no empty segment but the last, and begins with a slash.
  2. An authority that was checked can be taken apart and put together again.
"""

from fuzz.drive import main
from vestibule.fault import CLIENT_BAD_HOST, CLIENT_BAD_TARGET, ProtocolError
from vestibule.http.target import check_authority, check_target, host_of, normal_path, split_absolute, split_authority

SEEDS = [b"/a/../b/./c//d%2e%2Fe?f", b"http://a.example:80/b?c", b"[2001:db8::1]:8443", b"*", b"a.example.", b"/%00"]
WORDS = [b"/", b"..", b".", b"%", b"%2e", b"%2F", b"%00", b"?", b"#", b":", b"[", b"]", b"@", b"a", b"80", b"http://", b"\\", b";"]


def target(data: bytes) -> None:
    _path(b"/" + data)
    _authority(data)
    try:
        check_target(data)
        authority, origin = split_absolute(data)
        assert origin.startswith(b"/") and data.endswith(origin[1:]) and authority in data
    except ProtocolError as error:
        assert error.kind is CLIENT_BAD_TARGET, error


def _path(path: bytes) -> None:
    try:
        normal = normal_path(path)
    except ProtocolError as error:
        assert error.kind is CLIENT_BAD_TARGET, error
        return
    segments = normal.split(b"/")
    assert segments[0] == b"" and len(segments) > 1, normal
    assert b"." not in segments and b".." not in segments, normal
    assert b"" not in segments[1:-1], normal
    assert b"\0" not in normal or b"\0" in path


def _authority(authority: bytes) -> None:
    try:
        check_authority(authority)
    except ProtocolError as error:
        assert error.kind is CLIENT_BAD_HOST, error
        return
    host, port = split_authority(authority)
    assert authority in (host + b":" + port, host)
    assert not port or 0 < int(port) < 65_536
    assert host_of(authority) == host_of(host)


if __name__ == "__main__":
    main(target, SEEDS, WORDS)
