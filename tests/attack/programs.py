"""The five programs, each in front of one recorder, as plainly as its documentation shows it."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from tests.differential.originals import ORIGINALS, Running
from tests.e2e.ports import free_ports
from tests.e2e.rig import Vestibule, settings

PROGRAMS = ("vestibule", "nginx", "haproxy", "caddy", "apache")

_CASES = {
    "nginx": """\
server {{
    listen 127.0.0.1:{port};
    location / {{
        proxy_pass http://127.0.0.1:{upstream};
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header Connection "";
        proxy_request_buffering off;
    }}
}}
""",
    "haproxy": """\
frontend f
\tbind 127.0.0.1:{port}
\tdefault_backend b
backend b
\tserver s 127.0.0.1:{upstream}
""",
    "caddy": "http://:{port} {{\n\tbind 127.0.0.1\n\treverse_proxy 127.0.0.1:{upstream}\n}}\n",
    "apache": """\
<VirtualHost 127.0.0.1:{port}>
    ProxyPass / http://127.0.0.1:{upstream}/
    ProxyPreserveHost On
</VirtualHost>
""",
}


@contextlib.contextmanager
def running(program: str, folder: Path, upstream: int) -> Iterator[int]:
    """Run a program in front of a port of this machine; yield the port it listens on."""
    port = free_ports(1)[0]
    folder.mkdir()
    if program == "vestibule":
        config = f'{settings(folder)}\n[sites."*"]\nlisten = "127.0.0.1:{port}"\nto = "http://127.0.0.1:{upstream}"\n'
        proxy = Vestibule(folder, config, [port])
        try:
            yield port
        finally:
            proxy.stop()
        return
    (folder / "cases").mkdir()
    (folder / "cases" / "only").write_text(_CASES[program].format(port=port, upstream=upstream))
    command = ORIGINALS[program].command(folder, [port])
    original = Running(command, folder, [port], dict(os.environ) | {"HOME": str(folder), "XDG_DATA_HOME": str(folder)})
    try:
        yield port
    finally:
        original.stop()
