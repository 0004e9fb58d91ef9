"""What the tests share: a folder per test, the built command, and a trace's rows as numbers."""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

SIMULATE = os.environ["MOE_SIMULATE"]
TRACE_ROWS = os.environ["MOE_TRACE_ROWS"]
PACKAGE = Path(__file__).resolve().parents[2] / "traces" / "capture" / "python"

try:
    import torch
except ImportError:
    torch = None
try:
    import numpy
except ImportError:
    numpy = None

needs_torch = unittest.skipUnless(torch, "needs PyTorch: apt-get install python3-torch")
needs_numpy = unittest.skipUnless(numpy, "needs NumPy: apt-get install python3-numpy")


class Row:
    """A token of a trace: its place, and the ids (and weights) of each layer."""

    def __init__(self, line):
        head, *layers = line.split("|")
        self.step, self.rank, self.request, self.position, self.token_id = (
            None if n == "-" else int(n) for n in head.split()
        )
        choices = [[c.split("*") for c in layer.split()] for layer in layers]
        self.ids = [[int(c[0]) for c in layer] for layer in choices]
        self.weights = [[float(c[1]) for c in layer if len(c) > 1] for layer in choices]


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="moe-capture-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def path(self, name):
        return str(self.folder / name)

    def simulate(self, *arguments):
        """Output of `simulate ARGUMENTS`, which has to succeed."""
        done = subprocess.run(
            [SIMULATE, *map(str, arguments)], capture_output=True, text=True, cwd=self.folder
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def lines_of(self, trace):
        done = subprocess.run([TRACE_ROWS, self.path(trace)], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.splitlines()

    def imported(self, *logs, options=()):
        """(what import said, the rows) of the raw logs."""
        said = self.simulate(
            "trace", "import", *map(self.path, logs), "-o", self.path("imported.moetrace"), *options
        )
        numbers, *lines = self.lines_of("imported.moetrace")
        self.layer_numbers = [int(n) for n in numbers.split()]
        return said, [Row(line) for line in lines]
