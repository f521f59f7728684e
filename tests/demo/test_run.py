"""The script that starts everything says what it does, and is fit for any shell.

Not here: an installation, which takes minutes; the end-to-end tests start the same two programs.
"""

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from vestibule.dialects.toml import parse

TOP = Path(__file__).parents[2]
SCRIPT = TOP / "scripts" / "run"


@pytest.mark.parametrize("shell", ["sh", "dash", "bash"])
def test_script_is_valid(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    done = subprocess.run([shell, "-n", SCRIPT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_help_names_every_use() -> None:
    done = subprocess.run([SCRIPT, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    for word in ("scripts/run --to http://immich:2283", "HTTPS_PORT", "vestibule.toml"):
        assert word in done.stdout
    assert "set -eu" not in done.stdout


def test_configuration_of_the_demonstration_is_valid() -> None:
    text = (TOP / "demo" / "vestibule.toml.in").read_text()
    for name, value in (("@STANDIN@", "http://127.0.0.1:2283"), ("@HTTPS@", "8443"), ("@HTTP@", "8080")):
        assert name in text
        text = text.replace(name, value)
    assert "@" not in text
    loaded = parse("vestibule.toml", text)
    assert loaded.diagnostics == ()
    assert loaded.config is not None
    assert [site.name for site in loaded.config.sites] == ["localhost"]


def test_extra_names_what_the_stand_in_imports() -> None:
    extra = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["optional-dependencies"]["demo"]
    names = {line.split(">")[0].split("=")[0] for line in extra}
    assert {"starlette", "uvicorn", "websockets", "pillow", "python-multipart"} <= names
