"""Build script: compiles the data plane with mypyc where that is possible, and installs it as plain Python where not.

Facts: the list of modules stands in pyproject.toml. A machine without a C compiler or Python's headers
gets a package that does the same, slower; `vestibule version` tells which one runs.
"""

import os
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).resolve().parent
PACKAGE = HERE / "src" / "vestibule"


def say(text: str) -> None:
    print(f"vestibule: {text}", file=sys.stderr)


def modules() -> list[str]:
    """Return the files to compile, as pyproject.toml lists them."""
    with open(HERE / "pyproject.toml", "rb") as file:
        patterns = tomllib.load(file)["tool"]["vestibule"]["compiled"]["modules"]
    found = {str(path.relative_to(HERE)) for pattern in patterns for path in PACKAGE.glob(pattern)}
    return sorted(found)


def missing() -> str:
    """Return what stands in the way of compiling, or nothing."""
    if os.environ.get("VESTIBULE_PURE"):
        return "VESTIBULE_PURE is set"
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "probe.c"
        source.write_text("#include <Python.h>\nint probe(void) { return 0; }\n")
        include = [f"-I{sysconfig.get_path(key)}" for key in ("include", "platinclude")]
        command = [*compiler, "-c", str(source), "-o", str(Path(folder) / "probe.o"), *include]
        try:
            done = subprocess.run(command, capture_output=True, check=False)
        except OSError:
            return f"there is no C compiler ({compiler[0]})"
        return "" if done.returncode == 0 else "the C compiler does not find Python's headers"


def extensions() -> list[Extension]:
    reason = missing()
    if not reason:
        try:
            from mypyc.build import mypycify  # a build requirement that a pure build lacks

            os.chdir(HERE)
            return mypycify([*modules(), "--config-file", str(HERE / "pyproject.toml")], opt_level="3", debug_level="0")
        except ImportError:
            reason = "mypyc is not installed"
        except SystemExit:
            reason = "mypyc refused the sources"
    say(f"installing without compilation, since {reason}; it works all the same, at about a third of the speed")
    return []


class BuildOrLeave(build_ext):
    """Builds the extensions; if that fails, removes what was built and leaves the package pure."""

    def run(self) -> None:
        try:
            super().run()
        except Exception as error:  # whatever the compiler did, the pure package works
            say(f"installing without compilation, since it failed: {error}")
            for extension in self.extensions:
                Path(self.get_ext_fullpath(extension.name)).unlink(missing_ok=True)
            self.extensions = []


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildOrLeave})
