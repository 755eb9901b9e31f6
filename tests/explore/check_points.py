#!/usr/bin/env python3
"""Every SHK_POINT() of the library must be reached by an exploration.

Usage: check_points.py SOURCE-DIR RUNS PROGRAM...

So many random runs of each program, always the same, and as many of its runs with a victim.
"""

import glob
import os
import re
import subprocess
import sys
import tempfile


def main():
    source, runs, programs = sys.argv[1], sys.argv[2], sys.argv[3:]
    points = {}
    for path in sorted(glob.glob(os.path.join(source, "*.[ch]"))):
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                for label in re.findall(r'SHK_POINT\("([^"]+)"\)', line):
                    points.setdefault(label, f"{os.path.basename(path)}:{number}")
    reached = set()
    with tempfile.TemporaryDirectory() as folder:
        labels = os.path.join(folder, "labels")
        for program in programs:
            for options in (["--pass", "random"], ["--pass", "victims"]):
                done = subprocess.run([program, *options, "--runs", runs, "--labels", labels],
                                      capture_output=True, text=True)
                if done.returncode:
                    sys.exit(f"{program} {' '.join(options)} fails:\n{done.stdout}{done.stderr}")
        with open(labels, encoding="utf-8") as file:
            reached = set(file.read().split())
    missing = sorted(set(points) - reached)
    for label in missing:
        print(f"{points[label]}: no exploration reaches {label}")
    print(f"{len(points)} points, {len(points) - len(missing)} reached")
    return 1 if missing or not points else 0


if __name__ == "__main__":
    sys.exit(main())
