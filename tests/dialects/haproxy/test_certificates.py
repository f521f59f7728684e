"""Certificates of clients, of servers and our own, as a haproxy.cfg asks for them: vestibule says what HAProxy says."""

import http.client
from contextlib import closing
from pathlib import Path

import pytest
from tests.dialects.haproxy.test_serve import serving
from tests.e2e.certs import Authority

_PARTS = (
    "der,hex",
    "sha1,hex",
    "serial,hex",
    "notafter",
    "notbefore",
    "sig_alg",
    "key_alg",
    "version",
    "s_dn",
    "i_dn",
    "s_dn(CN)",
    "i_dn(cn)",
)


def _rules(begin: str) -> str:
    """Return rules that tell what stands in a certificate."""
    rules: list[str] = []
    for part in _PARTS:
        name = "".join(each if each.isalnum() else "-" for each in part)
        fetch, _, converter = part.partition(",")
        rules.append(
            f"    http-response add-header {begin.replace('_', '-')}{name} <%[{begin}{fetch}{',' + converter if converter else ''}]>"
        )
    return "\n".join(rules)


TEXT = f"""\
defaults
    mode http
    retries 0
    timeout connect 5s
    timeout client 1m
    timeout server 1m

listen door
    bind 127.0.0.1:PORT
    default-server ssl verify none
    use-server shown if {{ path_beg /shown }}
    use-server late if {{ path_beg /late }}
    use-server one if {{ path_beg /one }}
    use-server two if {{ path_beg /two }}
    use-server none if {{ path_beg /none }}
    http-response add-header x-bc %[ssl_bc],%[ssl_bc_protocol],%[ssl_bc_is_resumed]
    http-response add-header x-server <%[ssl_s_s_dn]>,<%[ssl_s_version]>
    server shown FOLDER/in.sock crt FOLDER/good.pem
    server late FOLDER/in.sock crt FOLDER/late.pem
    server one FOLDER/in.sock sni str(one.test)
    server two FOLDER/in.sock sni str(two.a.test)
    server none FOLDER/in.sock sni str(odd.a.test)
    server gone 127.0.0.1:1

listen inside
    bind FOLDER/in.sock ssl strict-sni crt-list FOLDER/hosts.list ca-file FOLDER/root.pem verify optional crt-ignore-err all
    http-request set-var(txn.verify) ssl_c_verify
{_rules("ssl_c_")}
{_rules("ssl_f_")}
    http-response add-header x-verify %[var(txn.verify)],%[ssl_c_used]
    server app 127.0.0.1:UPSTREAM
"""


def ask(port: int, path: str) -> tuple[int, dict[str, str]]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as client:
        client.request("GET", path)
        answer = client.getresponse()
        fields = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, {name: value for name, value in fields.items() if name.startswith(("x-", "ssl-"))}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority()
    authority.write_root(folder / "root.pem")
    authority.bundle(folder / "good.pem", "anna.test").chmod(0o600)
    authority.bundle(folder / "late.pem", "otto.test", days=-1).chmod(0o600)
    authority.bundle(folder / "server.pem", "shown.test").chmod(0o600)
    rows = [f"{folder}/server.pem !odd.a.test *.a.test one.test", f"{folder}/server.pem localhost"]
    (folder / "hosts.list").write_text("# file and hosts\n" + "\n".join(rows) + "\n")
    return folder


def outcome(tmp_path: Path, files: Path, original: bool) -> list[tuple[int, dict[str, str]]]:
    for each in files.iterdir():
        (tmp_path / each.name).write_bytes(each.read_bytes())
        (tmp_path / each.name).chmod(0o600)
    text = TEXT.replace(".sock crt", ".sock sni str(localhost) crt")
    with serving(tmp_path, "haproxy.cfg", text, original) as (port, _, _):
        return [ask(port, path) for path in ("/shown", "/late", "/one", "/two", "/none")]


def test_what_stands_in_certificates_is_told_alike(tmp_path: Path, files: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    ours = outcome(tmp_path / "a", files, False)
    theirs = outcome(tmp_path / "b", files, True)
    for (status, fields), (their_status, their_fields) in zip(ours, theirs, strict=True):
        assert status == their_status
        if status != 503:
            assert {name: fields.get(name) for name in their_fields} == their_fields
    statuses = [status for status, _ in ours]
    assert statuses == [200, 200, 200, 200, 503]
    assert [fields["x-verify"] for _, fields in ours[:4]] == ["0,1", "10,1", "0,0", "0,0"]
    assert "CN=" in ours[0][1]["ssl-c-s-dn"] or ours[0][1]["ssl-c-s-dn"] != "<>"
