"""Prints the table of README.md from the folder of logs that make.sh filled: python3 table.py LOGS"""

import json
import os
import sys

import numpy

WINDOWS = ((0, 50), (150, 200), (350, 400))


def main():
    folder = sys.argv[1]
    print("| run | loss, last 20 steps | max/mean, steps " +
          " | ".join(f"{a} to {b - 1}" for a, b in WINDOWS) + " | unused at the end |")
    print("|---|--:|--:|--:|--:|--:|")
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name, "counts.npy")
        if not os.path.exists(path):
            continue
        counts = numpy.load(path).astype(float)  # [steps, layers, experts]
        with open(os.path.join(folder, name, "log.jsonl")) as file:
            losses = [json.loads(line)["loss"] for line in file]
        cells = []
        for begin, end in WINDOWS:  # choices of the window added up, per layer, then the mean
            load = counts[begin:end].sum(0)
            cells.append(f"{(load.max(1) / load.mean(1)).mean():.2f}")
        unused = int((counts[-50:].sum(0) == 0).sum())
        print(f"| {name} | {numpy.mean(losses[-20:]):.3f} | " + " | ".join(cells) +
              f" | {unused} of {counts.shape[1] * counts.shape[2]} |")


if __name__ == "__main__":
    main()
