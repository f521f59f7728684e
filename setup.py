"""Build script: compiles the data plane with mypyc where that is possible, and installs it as plain Python where not.

Facts
  The list of modules stands in pyproject.toml. A machine without a C compiler or Python's headers
  gets a package that does the same, slower; `vestibule version` tells which one runs.
  One C file for each module takes 5.5 minutes of CPU, on all processors at once, where one file for all
  takes 13.5 on one. Functions call each other directly, not through the linker's table, where anybody could
  put another one; that is worth more than what one file could inline.
"""

import os
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

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
            arguments = [*modules(), "--config-file", str(HERE / "pyproject.toml")]
            made = mypycify(arguments, opt_level="3", debug_level="0", multi_file=True)
        except ImportError:
            reason = "mypyc is not installed"
        except SystemExit:
            reason = "mypyc refused the sources"
        else:
            for each in made:
                each.extra_compile_args.append("-fvisibility=hidden")
            return made
    say(f"installing without compilation, since {reason}; it works all the same, and a request takes 1.6 times the CPU")
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

    def build_extensions(self) -> None:
        """Compile on all processors: the libraries side by side, and the files of each."""
        count = len(os.sched_getaffinity(0))
        self.parallel = count
        compile_all = self.compiler.compile

        def side_by_side(sources: list[str], **more: Any) -> list[str]:
            with ThreadPoolExecutor(count) as pool:
                made = pool.map(lambda source: compile_all([source], **more), sources)
                return [path for paths in made for path in paths]

        self.compiler.compile = side_by_side
        super().build_extensions()


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildOrLeave})
