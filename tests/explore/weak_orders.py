#!/usr/bin/env python3
"""Weakens each memory order of the library by one step and sees whether an exploration fails.

Usage: weak_orders.py [--seconds S] [--jobs N] [--only TEXT] [--pass NAME] [--summary FILE] SOURCE-DIR ORDERS PROGRAM...

The programs are explore_*. An order is one line of source, however often it was inlined. Weaker by
one step: seq_cst to acq_rel, acq_rel to acquire and to release, acquire and release to relaxed.
ORDERS lists those that no exploration finds too weak and that stay, each with its reason, and where
to look for those that all programs together would find in minutes only:

    file: text of the line | weaker order | reason
    file: text of the line | weaker order | find: PROGRAM OPTIONS       (a line per place, if it stands twice)

Exit status: 0 when every other order was found, and every one listed exists.
"""

import argparse
import collections
import concurrent.futures
import os
import re
import shlex
import subprocess
import sys

STEPS = {
    "seq_cst": ["acq_rel"],
    "acq_rel": ["acquire", "release"],
    "acquire": ["relaxed"],
    "release": ["relaxed"],
}
# Where the macros are, and functions that only pass an order on: the line that calls them counts.
PASSED_THROUGH = ("atomics.h", "memory.c")


def sites_of(program, seconds):
    out = subprocess.run([program, "--sites", "--seconds", str(seconds)], capture_output=True, text=True)
    if out.returncode != 0:
        sys.exit(f"{program} --sites: {out.stdout}{out.stderr}")
    return [line.split("\t") for line in out.stdout.splitlines() if line.startswith("0x")]


def lines_of(program, offsets):
    """For each offset, the source line whose order it is."""
    # the address is where the call returns to: one less is inside it
    asked = [hex(int(offset, 16) - 1) for offset in offsets]
    base = executable_start(program)
    asked = [hex(int(a, 16) + base) for a in asked]
    out = subprocess.run(["addr2line", "-i", "-e", program] + [], input="\n".join(f"{a}\n0x0" for a in asked),
                         capture_output=True, text=True, check=True).stdout.splitlines()
    groups, current = [], []
    for line in out:
        if line.startswith("??"):
            if current:
                groups.append(current)
            current = []
        else:
            current.append(line)
    result = []
    for frames in groups:
        for frame in frames:
            path, number = frame.split(" ")[0].rsplit(":", 1)
            if os.path.basename(path) not in PASSED_THROUGH:
                break
        result.append((os.path.basename(path), int(number)))
    return result


def executable_start(program):
    out = subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout
    return int(re.search(r"^([0-9a-f]+) . __executable_start$", out, re.M).group(1), 16)


def text_of(source, file, number, cache={}):
    if file not in cache:
        with open(os.path.join(source, file), encoding="utf-8") as f:
            cache[file] = f.read().splitlines()
    return cache[file][number - 1].strip()


def read_reasons(path):
    reasons = collections.defaultdict(list)
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.strip() and not line.startswith("#"):
                # the text itself may have a bar in it
                place, weaker, reason = re.match(r"(.*) \| (acq_rel|acquire|release|relaxed) \| (.*)", line).groups()
                reasons[place.strip(), weaker].append(reason.strip())
    return reasons


HINT = "find: "                         # of a reason
HINT_SECONDS = 90


def all_hints(known):
    """A line that stands twice may have a hint for each of its places."""
    return bool(known) and all(reason.startswith(HINT) for reason in known)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--only", default="")
    parser.add_argument("--pass", dest="only_pass")
    parser.add_argument("--summary")
    parser.add_argument("source")
    parser.add_argument("orders")
    parser.add_argument("programs", nargs="+")
    options = parser.parse_args()

    reasons = read_reasons(options.orders)
    places = collections.defaultdict(lambda: {"order": "relaxed", "sites": collections.defaultdict(list)})
    rank = ["relaxed", "consume", "acquire", "release", "acq_rel", "seq_cst"]
    for program in options.programs:
        sites = sites_of(program, 4)
        for (offset, order, count), (file, number) in zip(sites, lines_of(program, [s[0] for s in sites])):
            place = places[file, number]
            place["sites"][program].append((offset, int(count)))
            if rank.index(order) > rank.index(place["order"]):
                place["order"] = order

    def attempt(key, weaker):
        """Programs that pass it most often first; or the one where it is known to be found."""
        by_use = sorted(places[key]["sites"].items(), key=lambda item: -sum(c for _, c in item[1]))
        seconds, more = options.seconds, ["--pass", options.only_pass] if options.only_pass else []
        known = reasons.get((f"{key[0]}: {text_of(options.source, *key)}", weaker), [])
        looks = [(*item, more) for item in by_use]
        if all_hints(known):
            sites_by_name = {os.path.basename(program): (program, sites) for program, sites in by_use}
            hints = [shlex.split(hint.removeprefix(HINT)) for hint in known]
            looks = [(*sites_by_name[name], more) for name, *more in hints if name in sites_by_name]
            seconds = max(seconds, HINT_SECONDS)
        elif known:
            seconds = max(seconds / len(by_use), 1)     # it is to stay: a glance of all programs together
        for program, sites, more in looks:
            what = ",".join(offset for offset, _ in sites) + "=" + weaker
            out = subprocess.run([program, "--weaken", what, "--seconds", str(seconds), *more],
                                 capture_output=True, text=True)
            if out.returncode == 0 or out.returncode < 0:
                how = out.stdout.strip().splitlines()[-1:] or [f"signal {-out.returncode}"]
                return f"{os.path.basename(program)}: {how[0]}"
        return None

    tasks = [(key, weaker) for key in sorted(places) for weaker in STEPS.get(places[key]["order"], [])
             if options.only in f"{key[0]}:{key[1]}"]
    caught = listed = missed = 0
    used = set()
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for (key, weaker), how in zip(tasks, pool.map(lambda task: attempt(*task), tasks)):
            file, number = key
            place = f"{file}: {text_of(options.source, file, number)}"
            what = f"{file}:{number}: {places[key]['order']} -> {weaker}"
            if how:
                caught += 1
                print(f"{what}: {how}", flush=True)
            elif (place, weaker) in reasons and not all_hints(reasons[place, weaker]):
                listed += 1
                used.add((place, weaker))
                print(f"{what}: stays: {reasons[place, weaker][-1]}", flush=True)
            else:
                missed += 1
                print(f"{what}: NOT CAUGHT\n    {place} | {weaker} | ", flush=True)
    print(f"{len(tasks)} weakened orders: {caught} caught, {listed} stay for a reason, {missed} not caught")
    if options.summary:
        with open(options.summary, "a", encoding="utf-8") as file:
            file.write(f"weak-orders\t{len(tasks)}\t{caught}\t{listed}\t{missed}\n")
    return 1 if missed or not tasks else 0


if __name__ == "__main__":
    sys.exit(main())
