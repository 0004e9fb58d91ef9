"""Builds the package with libmoe_capture.so in it: the C file of the folder above, by the system's
compiler.
"""

import os
import shlex
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent


class BuildWithLibrary(build_py):
    def run(self):
        super().run()
        package = Path(self.build_lib) / "moe_capture"
        self.mkpath(str(package))
        compiler = shlex.split(os.environ.get("CC", "cc"))
        self.spawn(
            [
                *compiler,
                "-std=c11",
                "-O2",
                "-fPIC",
                "-shared",
                "-pthread",
                "-fvisibility=hidden",
                str(HERE.parent / "moe_capture.c"),
                "-o",
                str(package / "libmoe_capture.so"),
            ]
        )


class PlatformDistribution(Distribution):
    """A wheel for this platform only: it holds a shared object, though no extension module."""

    def has_ext_modules(self):
        return True


setup(
    name="moe_capture",
    version="0.1.0",
    description="Records which token went to which expert",
    packages=["moe_capture"],
    python_requires=">=3.9",
    distclass=PlatformDistribution,
    cmdclass={"build_py": BuildWithLibrary},
)
