"""`pip install` of the folder into an environment of its own: builds the library, needs no network,
and captures.
"""

import os
import subprocess
import sys
import unittest

from support import PACKAGE, Case

HOST = """
import moe_capture, pathlib
from moe_capture.library import library
loaded, package = pathlib.Path(library()._name), pathlib.Path(moe_capture.__file__)
assert loaded.parent == package.parent, loaded
with moe_capture.Capture("run.log", experts=[4, 4], top_k=1) as log:
    for layer in range(2):
        log.record(step=0, layer=layer, ids=[2 + layer, 1])
print(log.counters()["stored_choices"])
"""


def _has(*modules):
    return all(
        subprocess.run([sys.executable, "-c", f"import {m}"], capture_output=True).returncode == 0
        for m in modules
    )


class InstallTest(Case):
    @unittest.skipUnless(
        _has("pip", "setuptools", "ensurepip", "wheel"),
        "needs apt-get install python3-pip python3-setuptools python3-wheel python3-venv",
    )
    def test_pip_install_and_capture(self):
        source = self.folder / "capture"
        subprocess.run(
            ["cp", "-r", PACKAGE.parent, source], check=True
        )  # pip builds in the folder itself
        environment = {
            k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "MOE_", "PIP_"))
        }
        subprocess.run(
            [
                sys.executable,
                "-m",
                "venv",
                "--system-site-packages",
                "--without-pip",
                self.path("venv"),
            ],
            check=True,
        )
        python = self.path("venv/bin/python3")
        done = subprocess.run(
            [
                python,
                "-m",
                "pip",
                "install",
                "--no-build-isolation",
                "--no-index",
                "--quiet",
                str(source / "python"),
            ],
            env=environment,
            capture_output=True,
            text=True,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        done = subprocess.run(
            [python, "-c", HOST], env=environment, capture_output=True, text=True, cwd=self.folder
        )
        self.assertEqual((done.stdout, done.stderr), ("4\n", ""))
        self.assertEqual([row.ids for row in self.imported("run.log")[1]], [[[2], [3]], [[1], [1]]])
