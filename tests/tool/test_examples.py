#!/usr/bin/env python3
"""Runs the examples of a man page, one after the other, and compares what they print.

Usage: test_examples.py PAGE PROGRAM-FOLDER LIBRARY-FOLDER

In a literal block a line "$ COMMAND" is run by a shell, and the lines up to the next are what it prints, standard
error behind standard output; "[exit status N]" is the last where that is not 0. Each command has a block; a command
of the program that no example runs fails the test. A comment 'same: REGEX' before a block names what may differ.
The examples have a /dev/shm of their own where the kernel lets us have one.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

UNESCAPE = [("\\e", "\\"), ("\\&", ""), ("\\-", "-")]


def blocks(path):
    """(regex or None, lines) of each literal block that has commands."""
    same, block = None, None
    with open(path, encoding="utf-8") as file:
        for line in file:
            line = line.rstrip("\n")
            if line.startswith('.\\" same: '):
                same = line[len('.\\" same: '):]
            elif line.startswith(".Bd -literal"):
                block = []
            elif line == ".Ed" and block is not None:
                if any(text.startswith("$ ") for text in block):
                    yield same, block
                same, block = None, None
            elif block is not None:
                for before, after in UNESCAPE:
                    line = line.replace(before, after)
                block.append(line)


def steps(block):
    """(command, expected lines)"""
    command, expected = None, []
    for line in block:
        if line.startswith("$ "):
            if command:
                yield command, expected
            command, expected = line[2:], []
        else:
            expected.append(line)
    yield command, expected


def run(command, environment, folder):
    done = subprocess.run(["sh", "-c", command], env=environment, cwd=folder, capture_output=True, text=True, timeout=60,
                          stdin=subprocess.DEVNULL, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    if done.returncode:
        lines.append(f"[exit status {done.returncode}]")
    return lines


def alike(lines, same):
    text = "\n".join(line.rstrip() for line in lines)
    return re.sub(same, "#", text) if same else text


def own_shm():
    """A /dev/shm of our own, so that nobody's segments are in the way; or that of everybody."""
    if os.environ.get("OWN_SHM") or not shutil.which("unshare"):
        return
    enter = ["unshare", "--mount"] + ([] if os.getuid() == 0 else ["--map-root-user"])
    mount = "mount -t tmpfs -o mode=1777 tmpfs /dev/shm"
    if subprocess.run([*enter, "sh", "-c", mount], capture_output=True, check=False).returncode == 0:
        os.execvpe("unshare", [*enter, "sh", "-c", mount + ' && exec "$@"', "sh", sys.executable, *sys.argv],
                   dict(os.environ, OWN_SHM="1"))


def main():
    page, programs, library = (os.path.abspath(path) for path in sys.argv[1:4])
    own_shm()
    environment = dict(os.environ, PATH=programs + os.pathsep + os.environ["PATH"], LC_ALL="C.UTF-8",
                       LD_LIBRARY_PATH=library, NO_COLOR="1")
    told = subprocess.run([os.path.join(programs, "shmkit"), "--help"], env=environment, capture_output=True, text=True,
                          check=True).stdout
    unseen = set(re.findall(r"^  (\w+) ", told, re.MULTILINE))
    failed = passed = 0
    with tempfile.TemporaryDirectory() as folder:
        for same, block in blocks(page):
            for command, expected in steps(block):
                unseen -= set(re.findall(r"shmkit (\w+)", command))
                found = run(command, environment, folder)
                if alike(found, same) == alike(expected, same):
                    passed += 1
                    continue
                failed += 1
                print(f"$ {command}\nexpected:", *expected, "found:", *found, "", sep="\n")
    for command in sorted(unseen):
        print(f"no example runs {command}")
    print(f"{passed} examples, {failed} failed")
    sys.exit(1 if failed or unseen or not passed else 0)


if __name__ == "__main__":
    main()
