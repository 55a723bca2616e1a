"""Builds the native engine where there is a C compiler; all else is in pyproject.toml.

Without one, or where it fails, the package is complete but for that engine.
"""

import runpy
from pathlib import Path
from subprocess import CalledProcessError

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

NATIVE = Path("src/stenograf/llm/native")


class BuildNative(build_ext):
    """Leaves compiling to the engine's own build script, which knows its instruction sets."""

    def get_ext_filename(self, fullname: str) -> str:
        """A plain name: Python does not import it, ctypes opens it."""
        return str(Path(*fullname.split(".")).with_suffix(".so"))

    def build_extension(self, ext: Extension) -> None:
        """Raises CompileError, which an optional extension may."""
        build = runpy.run_path(str(NATIVE / "build.py"))["build"]
        try:
            build(Path(self.get_ext_fullpath(ext.name)).absolute())
        except (OSError, CalledProcessError) as exc:
            raise CompileError(f"the native engine is not built: {exc}") from exc


setup(
    ext_modules=[
        Extension(
            "stenograf.llm.native._stenograf",
            sources=sorted(map(str, NATIVE.glob("csrc/*.c"))),
            depends=sorted(map(str, NATIVE.glob("csrc/*.h"))),
            optional=True,
        )
    ],
    cmdclass={"build_ext": BuildNative},
)
