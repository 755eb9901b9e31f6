#!/usr/bin/env python3
"""Builds wrong versions of the library, one after the other, and sees whether a test fails.

Usage: run.py [--seconds S] [--jobs N] [--only NAME] [--every N] [--summary FILE] BUILD-DIR [FILE...]

A FILE is NAME.mutants beside this program; without one, all. In it stands, for each mutant,

    == name-with-dashes
    why: one sentence
    file: queue.c
    <<<<
    text that occurs once in src/queue.c
    ====
    what stands there instead
    >>>>

perhaps with more blocks, and with one of these lines:

    by: explore_queue                   who is to catch it; without: explore_NAME
    by: process/test_alive              a test of real processes, with a library built for it
    options: --state 8 --pass random    of explore_*, where what is to happen is rare
    survives: why no test can tell it from the right version

BUILD-DIR is a complete build by meson of the unchanged tree: its compile commands are used.
A mutant is caught when the test fails, crashes, or does not come to an end. Exit status: 0 when
every mutant was caught, but for those that are said to survive, which must.
"""

import argparse
import concurrent.futures
import glob
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


def objects_in(directory):
    """Their names may begin with a dot."""
    return sorted(os.path.join(directory, name) for name in os.listdir(directory) if name.endswith(".o"))


class Mutant:
    def __init__(self, name, group):
        self.name, self.group = name, group
        self.why = self.survives = self.options = ""
        self.by = []
        self.blocks = []                # (file, old, new)


def parse(path):
    group = os.path.basename(path).rsplit(".", 1)[0]
    mutants, file, part = [], None, None
    with open(path, encoding="utf-8") as source:
        for line in source.read().split("\n"):
            if part is not None:
                if line == "====" and len(part) == 1:
                    part.append([])
                elif line == ">>>>":
                    old, new = ("\n".join(lines) for lines in part)
                    mutants[-1].blocks.append((file, old, new))
                    part = None
                else:
                    part[-1].append(line)
            elif line == "<<<<":
                part = [[]]
            elif line.startswith("== "):
                mutants.append(Mutant(line[3:].strip(), group))
            elif ":" in line and not line.startswith("#"):
                key, value = (text.strip() for text in line.split(":", 1))
                if key == "file":
                    file = value
                elif key == "by":
                    mutants[-1].by.append(value)
                elif key in ("why", "survives", "options"):
                    setattr(mutants[-1], key, value)
                else:
                    sys.exit(f"{path}: what is '{key}'?")
    for mutant in mutants:
        if not mutant.blocks:
            sys.exit(f"{path}: {mutant.name} changes nothing")
        mutant.by = mutant.by or ["explore_" + group]
    return mutants


class Build:
    """The unchanged build, and how its objects were made."""

    def __init__(self, directory):
        self.directory = os.path.abspath(directory)
        with open(os.path.join(self.directory, "compile_commands.json"), encoding="utf-8") as file:
            commands = json.load(file)
        self.explored, self.shared = {}, {}
        for entry in commands:
            path = os.path.normpath(os.path.join(entry["directory"], entry["file"]))
            if os.path.dirname(path) != os.path.join(ROOT, "src"):
                continue
            where = self.explored if "shmkit-explored" in entry["output"] else self.shared
            if "shmkit-explored" in entry["output"] or "libshmkit.so" in entry["output"] or \
                    "libshmkit.a" in entry["output"]:
                where[os.path.basename(path)] = entry

    def compile(self, entry, sources, out):
        """The object of one file of the changed sources."""
        words = shlex.split(entry["command"])
        skip, command = False, []
        for word in words:
            if skip or word in ("-MD", "-c"):
                skip = False
                continue
            if word in ("-MQ", "-MF", "-o"):
                skip = True
                continue
            full = os.path.normpath(os.path.join(self.directory, word))
            if full == os.path.normpath(os.path.join(self.directory, entry["file"])):
                continue
            if word.startswith("-I"):
                full = os.path.normpath(os.path.join(self.directory, word[2:]))
                word = "-I" + (sources if full == os.path.join(ROOT, "src") else full)
            command.append(word)
        name = os.path.basename(entry["file"])
        target = os.path.join(out, name + ".o")
        done = subprocess.run(command + ["-w", "-I" + sources, "-c", os.path.join(sources, name), "-o", target],
                              cwd=self.directory, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr[-500:])
        return target

    def changed_objects(self, entries, mutant, sources, out):
        files = {file for file, _, _ in mutant.blocks}
        names = entries if any(file.endswith(".h") for file in files) else files
        return [self.compile(entries[name], sources, out) for name in sorted(names) if name in entries]

    def link_explorer(self, program, objects, out):
        tests = os.path.join(self.directory, "tests", "explore")
        own = objects_in(os.path.join(tests, program + ".p"))
        target = os.path.join(out, program)
        # the changed objects before the archive, whose members of the same names are then not taken
        subprocess.run(["cc", "-o", target, *own, "-Wl,--whole-archive", *self.members(tests, "explore-engine"),
                        "-Wl,--no-whole-archive", *objects, *self.rest(tests, objects), "-lbsd", "-lcmocka",
                        "-pthread"], check=True, capture_output=True, text=True)
        return target

    def members(self, tests, name):
        return objects_in(os.path.join(tests, f"lib{name}.a.p"))

    def rest(self, tests, objects):
        replaced = {os.path.basename(path)[:-2] for path in objects}
        return [path for path in self.members(tests, "shmkit-explored")
                if os.path.basename(path)[:-2].rsplit("src_", 1)[1] not in replaced]

    def link_library(self, objects, out):
        folder = os.path.join(self.directory, "src")
        replaced = {os.path.basename(path)[:-2] for path in objects}
        others = [path for pattern in ("libshmkit.so*.p", "libshmkit.a.p")
                  for directory in glob.glob(os.path.join(folder, pattern))
                  for path in objects_in(directory)]
        seen, rest = set(), []
        for path in others:
            name = os.path.basename(path)[:-2]
            if name not in replaced and name not in seen:
                seen.add(name)
                rest.append(path)
        target = os.path.join(out, "libshmkit.so.1")
        subprocess.run(["cc", "-shared", "-Wl,-soname,libshmkit.so.1", "-o", target, *objects, *rest, "-lbsd",
                        "-pthread", "-Wl,--version-script=" + os.path.join(ROOT, "src", "libshmkit.map")],
                       check=True, capture_output=True, text=True)
        return target


def run_one(build, by, mutant, sources, out, seconds):
    """(caught, by what)"""
    if by.startswith("explore_"):
        objects = build.changed_objects(build.explored, mutant, sources, out)
        command = [build.link_explorer(by, objects, out), "--hunt", "--seconds", str(seconds),
                   *shlex.split(mutant.options)]
        environment = os.environ
    else:
        objects = build.changed_objects(build.shared, mutant, sources, out)
        build.link_library(objects, out)
        command = [os.path.join(build.directory, "tests", by)]
        environment = dict(os.environ, LD_LIBRARY_PATH=out,
                           SHMKIT_EXAMPLES=os.path.join(build.directory, "examples"))
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace",
                              timeout=seconds * 4 + 60, env=environment)
    except subprocess.TimeoutExpired:
        return True, "did not end"
    if done.returncode < 0:
        return True, f"signal {-done.returncode}"
    if by.startswith("explore_"):
        last = (done.stdout.strip().splitlines() or [""])[-1]
        return done.returncode == 0, last
    return done.returncode != 0, f"exit status {done.returncode}"


SURVIVOR_SECONDS = 15                   # for those that are said to survive


def stale(mutant):
    """Why it cannot be made of the sources as they are; or None."""
    texts = {}
    for file, old, new in mutant.blocks:
        path = os.path.join(ROOT, "src", file)
        if path not in texts:
            with open(path, encoding="utf-8") as source:
                texts[path] = source.read()
        count = texts[path].count(old)
        if count != 1:
            return f"its text occurs {count} times in {file}"
        texts[path] = texts[path].replace(old, new)
    return None


def try_mutant(build, mutant, seconds):
    start = time.monotonic()
    if mutant.survives:
        seconds = min(seconds, SURVIVOR_SECONDS)
    with tempfile.TemporaryDirectory(prefix="mutant-") as out:
        sources = os.path.join(out, "src")
        shutil.copytree(os.path.join(ROOT, "src"), sources)
        for file, old, new in mutant.blocks:
            path = os.path.join(sources, file)
            with open(path, encoding="utf-8") as source:
                text = source.read()
            with open(path, "w", encoding="utf-8") as source:
                source.write(text.replace(old, new))
        for by in mutant.by:
            try:
                caught, how = run_one(build, by, mutant, sources, out, seconds)
            except RuntimeError as error:
                return None, f"does not compile: {error}", 0
            except subprocess.CalledProcessError as error:
                return None, f"does not link: {error.stderr[-300:]}", 0
            if caught:
                return True, f"{by}: {how}", time.monotonic() - start
    return False, "", time.monotonic() - start


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--only", default="")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--offset", type=int, default=0)
    parser.add_argument("--summary")
    parser.add_argument("build")
    parser.add_argument("files", nargs="*")
    options = parser.parse_args()

    build = Build(options.build)
    files = options.files or sorted(glob.glob(os.path.join(HERE, "*.mutants")))
    mutants = [mutant for file in files for mutant in parse(file) if options.only in mutant.name]
    caught = survived = wrong = 0
    # all of them, of a share as well: nobody is to find out later
    for mutant in mutants:
        if stale(mutant):
            wrong += 1
            print(f"{mutant.group}/{mutant.name}: {stale(mutant)}", flush=True)
    unmade = wrong
    mutants = [mutant for mutant in mutants if not stale(mutant)]
    mutants = mutants[options.offset % options.every::options.every]
    slowest = 0.0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        results = pool.map(lambda mutant: try_mutant(build, mutant, options.seconds), mutants)
        for mutant, (found, how, seconds) in zip(mutants, results):
            if found:
                caught += 1
                slowest = max(slowest, seconds)
            if found and not mutant.survives:
                said = f"caught, {how}"
            elif found is False and mutant.survives:
                survived += 1
                said = f"survives: {mutant.survives}"
            else:
                wrong += 1
                said = f"NOT CAUGHT {how}" if not found else f"CAUGHT, though it is to survive, {how}"
            print(f"{mutant.group}/{mutant.name}: {said}", flush=True)
    print(f"{len(mutants) + unmade} mutants: {caught} caught, {survived} cannot be, {wrong} wrong")
    if options.summary:
        with open(options.summary, "a", encoding="utf-8") as file:
            file.write(f"mutants\t{len(mutants) + unmade}\t{caught}\t{survived}\t{wrong}\t{slowest:.0f}\n")
    return 1 if wrong or not mutants else 0


if __name__ == "__main__":
    sys.exit(main())
