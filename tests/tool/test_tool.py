#!/usr/bin/env python3
"""The tool at its edges: hostile names and bytes, many of everything, pipes that break, users who may not.

Usage: test_tool.py PROGRAM-FOLDER LIBRARY-FOLDER

Segments are made by the tool itself, and spoilt by writing into their files. Output is looked at byte by byte: no
control character of a segment's may come through, and JSON must be JSON.
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time

PROGRAMS, LIBRARY = (os.path.abspath(path) for path in sys.argv[1:3])
SHMKIT = os.path.join(PROGRAMS, "shmkit")
ENVIRONMENT = dict(os.environ, LD_LIBRARY_PATH=LIBRARY, LC_ALL="C.UTF-8")
STEM = f"t-tool-{os.getpid()}-{time.monotonic_ns():x}"
CODES = range(6)
SLOW = os.environ.get("SHMKIT_TEST_SLOW") == "1"             # sanitizers: a process takes long to start and to end
SEGMENTS, MEMBERS, ROUNDS = (100, 20, 8) if SLOW else (1000, 100, 60)
SEED = int(os.environ.get("SHMKIT_TEST_SEED", time.time_ns() & 0xffffffff))
chance = random.Random(SEED)


def shmkit(*arguments, given=b"", expect=0, environment=None):
    """Standard output and error of a call that must end so."""
    done = subprocess.run([SHMKIT, *arguments], input=given, capture_output=True, env=environment or ENVIRONMENT,
                          timeout=60, check=False)
    if expect is not None:
        assert done.returncode == expect, f"shmkit {arguments}: exit status {done.returncode}: {done.stderr}"
    return done


def segment(name):
    return f"{STEM}-{name}"


def path(name):
    return os.path.join("/dev/shm", segment(name))


def is_clean(output):
    return not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", output)


# ---- many, and with hostile names ----

def test_256_entries_and_many_members_with_control_characters_are_shown():
    name = segment("many")
    shmkit("create", "-s", "4M", "--table", "large", name)
    names = [bytes([1 + (i + j) % 255 for j in range(1 + i % 40)]).replace(b"/", b"_") + b"%d" % i for i in range(256)]
    for begin in range(0, 256, 64):
        shmkit("add", "--", name, "u64", *names[begin:begin + 64])
    children = [subprocess.Popen([SHMKIT, "label", name, b"\x1b[31m%d\n" % i, "sleep", "15"], env=ENVIRONMENT)
                for i in range(MEMBERS)]
    try:
        end = time.monotonic() + 20
        while len(json.loads(shmkit("ps", "--json", name, expect=None).stdout or b'{"members":[]}')["members"]) < MEMBERS:
            assert time.monotonic() < end, "not all members come"
            time.sleep(0.02)
        for command in (["ls", name], ["info", name], ["ps", name], ["map", name], ["top", "-n", "1", name],
                        ["export", "--prometheus"], ["stat", "-n", "1", name]):
            output = shmkit(*command).stdout
            assert is_clean(output), command
        shown = json.loads(shmkit("info", "--json", name).stdout)["segment"]
        assert len(shown["structures"]) == 256 and shown["members"] == MEMBERS
        members = json.loads(shmkit("ps", "--json", name).stdout)["members"]
        assert sorted(member["label"] for member in members) == sorted("\x1b[31m%d\n" % i for i in range(MEMBERS))
        # a name is given back as it is
        assert shmkit("get", name.encode() + b"/" + names[77]).stdout == b"0\n"
        shmkit("rm", name, expect=1)
    finally:
        for child in children:
            child.kill()
            child.wait()
    assert json.loads(shmkit("repair", "--json", name).stdout)["repaired"]["members"] == MEMBERS
    shmkit("rm", name)


def test_many_segments_are_listed():
    names = [segment(f"n{i}") for i in range(SEGMENTS)]
    for begin in range(0, SEGMENTS, 50):
        subprocess.run(["sh", "-c", 'for name; do "$0" create -s 64K "$name" || exit 1; done', SHMKIT,
                        *names[begin:begin + 50]], env=ENVIRONMENT, check=True)
    for command in (["ls"], ["ls", "--json"], ["gc"], ["export", "--prometheus"], ["doctor"], ["top", "-n", "1"]):
        begin = time.monotonic()
        output = shmkit(*command, expect=None)
        took = time.monotonic() - begin
        # a tenth of a second where nothing else runs
        assert output.returncode in (0, 1) and took < 5, f"{command}: {took:.2f} s"
    listed = json.loads(shmkit("ls", "--json").stdout)["segments"]
    assert {entry["name"] for entry in listed} >= set(names)
    shmkit("rm", *names)


# ---- damage ----

LOOKS = (["ls"], ["info"], ["ps"], ["map"], ["check"], ["stat", "-n", "1"], ["top", "-n", "1"])


def make_full(name):
    shmkit("create", "-s", "256K", name)
    shmkit("add", "-c", "16", "--schema", "id:u32 name:char[12]", name, "array", "array")
    shmkit("add", "-c", "16", "-e", "8", name, "pool", "pool")
    shmkit("push", "--create", "-k", "ring", "-c", "16", "-e", "16", name + "/ring", given=b"a\nb\nc\n")
    shmkit("push", "--create", "-c", "16", "-e", "16", name + "/queue", given=b"a\nb\nc\n")
    shmkit("add", "--initial", "5", name, "u64", "atomic")


def test_damaged_segments_are_shown_as_far_as_they_are_sound():
    name = segment("damaged")
    make_full(name)
    with open(path("damaged"), "rb") as file:
        sound = file.read()
    commands = [[*look, name] for look in LOOKS] + [[what, f"{name}/{which}"] for what, which in (
        ("dump", "array"), ("dump", "pool"), ("dump", "ring"), ("tail", "ring"), ("get", "atomic"), ("info", "queue"),
        ("pop", "queue"))]
    for round_number in range(ROUNDS):
        spoilt = bytearray(sound)
        for _ in range(chance.choice((1, 1, 4, 200))):
            # the header, the table, the structures' own words
            at = chance.choice((chance.randrange(256), chance.randrange(256, 9000), chance.randrange(16640, 24000)))
            spoilt[at] = chance.randrange(256)
        with open(path("damaged"), "r+b") as file:
            file.write(spoilt)
        for command in chance.sample(commands, 5):
            done = shmkit(*command, expect=None)
            assert done.returncode in CODES, f"round {round_number}, seed {SEED}: {command}: {done.returncode}"
            assert is_clean(done.stdout + done.stderr), (round_number, command)
    with open(path("damaged"), "r+b") as file:
        file.write(sound)
    assert shmkit("pop", name + "/queue").stdout == b"a\nb\nc\n"
    with open(path("damaged"), "r+b") as file:
        file.write(b"\0" * 64)
    shmkit("info", name, expect=5)
    os.unlink(path("damaged"))


def test_of_a_damaged_table_the_rest_is_told():
    name = segment("half")
    make_full(name)
    with open(path("half"), "r+b") as file:
        # the second entry's size is nothing that can be
        file.seek(256 + 96 + 24)
        file.write(b"\xff" * 8)
    assert shmkit("check", name, expect=5).stderr
    assert json.loads(shmkit("ls", "--json", name).stdout)["segments"][0]["name"] == name
    assert shmkit("get", name + "/atomic").stdout == b"5\n"
    os.unlink(path("half"))


def test_newer_formats_and_other_files_are_told_apart():
    name = segment("newer")
    make_full(name)
    with open(path("newer"), "r+b") as file:
        file.seek(12)
        file.write(b"\x09\0\0\0")
    shmkit("info", name, expect=4)
    assert json.loads(shmkit("ls", "--json", name).stdout)["segments"][0]["state"] == "newer format"
    os.unlink(path("newer"))
    with open(path("other"), "wb") as file:
        file.write(b"something else" * 1000)
    assert segment("other") not in shmkit("ls", expect=None).stdout.decode()
    shmkit("info", segment("other"), expect=5)
    os.unlink(path("other"))
    shmkit("info", segment("none"), expect=3)


# ---- pipes ----

def test_lines_come_out_as_they_went_in():
    name = segment("lines") + "/q"
    lines = [b"x" * chance.randrange(257) for _ in range(3000)] + ["grüße".encode(), b"", b"last, without an end"]
    with tempfile.TemporaryFile() as output:
        popper = subprocess.Popen([SHMKIT, "pop", "-f", "--create", name], stdout=output, env=ENVIRONMENT)
        shmkit("push", "--create", "--shutdown", name, given=b"\n".join(lines))
        assert popper.wait(timeout=30) == 0
        output.seek(0)
        assert output.read() == b"\n".join(lines) + b"\n"
    shmkit("rm", segment("lines"))


def test_a_line_that_does_not_fit_is_refused_and_those_before_it_are_in():
    name = segment("long") + "/q"
    done = shmkit("push", "--create", "-e", "8", name, given=b"one\ntwo\nmuch too long\nfour\n", expect=1)
    assert b"line 3 has 13 bytes" in done.stderr
    assert b"line 1 holds a byte 0" in shmkit("push", name, given=b"a\0b\n", expect=1).stderr
    assert shmkit("pop", name).stdout == b"one\ntwo\n"
    shmkit("push", "--truncate", name, given=b"much too long\n")
    assert shmkit("pop", name).stdout == b"much too\n"
    assert b"3 bytes into an element of 8" in shmkit("push", "--elements", name, given=b"12345678abc", expect=1).stderr
    assert shmkit("pop", "--elements", name).stdout == b"12345678"
    shmkit("rm", segment("long"))


def test_a_terminated_pop_loses_nothing():
    name = segment("term") + "/q"
    shmkit("push", "--create", "-c", "65536", name, given=b"".join(b"%d\n" % i for i in range(60000)))
    got = b""
    while True:
        popper = subprocess.Popen([SHMKIT, "pop", "-f", name], stdout=subprocess.PIPE, env=ENVIRONMENT)
        time.sleep(chance.random() * 0.01)
        popper.send_signal(signal.SIGTERM)
        got += popper.communicate(timeout=30)[0]
        if got.count(b"\n") >= 60000 or popper.returncode not in (0, 1, -signal.SIGTERM):
            break
    assert got == b"".join(b"%d\n" % i for i in range(60000))
    shmkit("rm", segment("term"))


def test_a_killed_pop_with_ack_loses_nothing():
    name = segment("kill") + "/q"
    shmkit("push", "--create", "-c", "4096", name, given=b"".join(b"%d\n" % i for i in range(4000)))
    got = set()
    while len(got) < 4000:
        popper = subprocess.Popen([SHMKIT, "pop", "-f", "--ack", name], stdout=subprocess.PIPE, env=ENVIRONMENT)
        time.sleep(0.002 + chance.random() * 0.01)
        popper.kill()
        more = popper.communicate(timeout=30)[0]
        got |= set(more.split())
        if not more and not json.loads(shmkit("info", "--json", name).stdout)["structure"]["used"]:
            break
    assert got == {b"%d" % i for i in range(4000)}
    shmkit("rm", segment("kill"))


def test_a_closed_standard_output_is_not_the_segment():
    name = segment("closed")
    shmkit("push", "--create", name + "/q", given=b"a\nb\n")
    subprocess.run(["sh", "-c", 'exec "$0" pop "$1" >&-', SHMKIT, name + "/q"], env=ENVIRONMENT, capture_output=True,
                   check=False)
    assert shmkit("check", name).stdout
    shmkit("rm", name)


def test_what_was_left_over_is_not_taken_away_by_looking_after_it():
    name = segment("left")
    make_full(name)
    with open(path("left"), "r+b") as file:
        file.seek(60)                                       # the flags: not persistent
        file.write(b"\0" * 4)
    assert json.loads(shmkit("ls", "--json", name).stdout)["segments"][0]["state"] == "left over"
    for command in (["repair", name], ["pop", name + "/queue"], ["set", name + "/atomic", "1"]):
        assert b"left over" in shmkit(*command, expect=1).stderr
    assert shmkit("tail", name + "/ring").stdout == b"a\nb\nc\n"
    shmkit("rm", name)


def test_hostile_schemas_are_not_believed():
    name = segment("schema")
    shmkit("create", name)
    shmkit("add", "-c", "2", "--schema", "abcdefgh:u8", name, "array", "a")
    with open(path("schema"), "r+b") as file:
        at = file.read().index(b"abcdefgh:u8")
        for schema in (b"\x1b]0;x\x07:u8", b"abcdefgh:u9", b"a:u8 a:u16 ", b"x:u8[9999]", b"\xff\xff\xffefgh:u8"):
            file.seek(at)
            file.write(schema.ljust(11))
            file.flush()
            for command in (["dump"], ["dump", "--csv"], ["get", "--json"]):
                done = shmkit(command[0], *command[1:], name + "/a", *(["0"] if command[0] == "get" else []), expect=None)
                assert done.returncode in CODES and is_clean(done.stdout + done.stderr), (schema, command)
    shmkit("rm", name)


# ---- values ----

def test_json_and_back_is_the_same():
    name = segment("json")
    schema = "a:u64 b:i64 c:f64 d:f32[2] e:bool f:char[8] g:u8[3] h:i16"
    values = [{"a": "18446744073709551615", "b": -9223372036854775808, "c": 0.1, "d": [1.5, "inf"], "e": True,
               "f": "äöü", "g": [1, 2, 255], "h": -32768},
              {"a": 0, "b": 0, "c": "nan", "d": [0.0, 0.0], "e": False, "f": "", "g": [0, 0, 0], "h": 0}]
    shmkit("push", "--create", "-c", "4", "--schema", schema, name + "/q",
           given=b"".join(json.dumps(value).encode() + b"\n" for value in values))
    assert [json.loads(line) for line in shmkit("pop", name + "/q").stdout.splitlines()] == values
    for wrong, says in (('{"a": -1}', "cannot be '-1'"), ('{"h": 40000}', "cannot be"), ('{"z": 1}', "no field 'z'"),
                        ('{"g": [1,2,3,4]}', "at most 3"), ('{"f": "longer than 8"}', "room for 8"), ("[1]", "no JSON object"),
                        ('{"e": 2}', "cannot be"), ("{", "line 1")):
        assert says.encode() in shmkit("push", name + "/q", given=wrong.encode(), expect=1).stderr, wrong
    shmkit("rm", name)


def test_recordings_are_replayed_and_damaged_ones_refused():
    name = segment("rec")
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "recording")
        shmkit("push", "--create", "-k", "ring", "-c", "64", name + "/r", given=b"".join(b"%d\n" % i for i in range(50)))
        shmkit("record", "--from-oldest", "-n", "50", name + "/r", file)
        shmkit("replay", "--fast", "--create", file, name + "/s")
        assert shmkit("pop", name + "/s").stdout == shmkit("pop", name + "/r").stdout
        with open(file, "rb") as recording:
            whole = recording.read()
        for size, expect in ((10, 4), (len(whole) - 5, 5), (whole.index(b"\n") + 9, 5)):
            assert shmkit("replay", "--fast", "-", name + "/s", given=whole[:size], expect=expect).stderr
        spoilt = bytearray(whole)
        at = whole.index(b"\n") + 1 + 16
        spoilt[at:at + 8] = b"\xff" * 8
        shmkit("replay", "--fast", "-", name + "/s", given=bytes(spoilt), expect=5)
    shmkit("rm", name)


# ---- who may not ----

def test_others_segments_are_looked_at_and_not_touched():
    if os.getuid() != 0:
        return
    name = segment("others")
    shmkit("create", "--mode", "0644", name)
    shmkit("add", "--initial", "7", name, "u64", "value")
    shmkit("create", segment("secret"))
    with tempfile.TemporaryDirectory() as folder:
        # what this user built another may not be able to reach
        for source in (SHMKIT, os.path.join(LIBRARY, "libshmkit.so.1")):
            subprocess.run(["cp", source, folder], check=True)
        os.chmod(folder, 0o755)

        def other(*arguments):
            return subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                                   os.path.join(folder, "shmkit"), *arguments], capture_output=True, check=False,
                                  env=dict(ENVIRONMENT, LD_LIBRARY_PATH=folder))

        assert other("get", name + "/value").stdout == b"7\n"
        assert other("set", name + "/value", "8").returncode == 3
        assert other("rm", name).returncode != 0
        listed = {entry["name"]: entry["state"] for entry in json.loads(other("ls", "--json").stdout)["segments"]}
        assert listed[name] == "kept" and listed[segment("secret")] == "no access"
    assert shmkit("get", name + "/value").stdout == b"7\n"
    shmkit("rm", name, segment("secret"))


def test_wrong_usage_is_told():
    for arguments in ([], ["nothing"], ["ls", "--nothing"], ["pop"], ["pop", "no-slash"], ["add", "x", "y", "z"],
                      ["create", "-s", "much", "x"], ["stat", "-i", "0", "x"], ["get", "-n"]):
        done = shmkit(*arguments, expect=2)
        assert done.stderr and not done.stdout
    assert b"did you mean 'info'" in shmkit("inof", expect=2).stderr
    for line in shmkit("--help").stdout.decode().splitlines():
        if line.startswith("  "):
            assert b"Usage: shmkit " in shmkit(line.split()[0], "--help").stdout


def main():
    tests = [(name, test) for name, test in globals().items() if name.startswith("test_") and callable(test)]
    print(f"[==========] Running {len(tests)} test(s).\nseed {SEED}")
    failed = 0
    for name, test in tests:
        print(f"[ RUN      ] {name}", flush=True)
        try:
            test()
            print(f"[       OK ] {name}", flush=True)
        except (AssertionError, subprocess.SubprocessError, OSError, ValueError, KeyError) as error:
            failed += 1
            print(f"{type(error).__name__}: {error}\n[  FAILED  ] {name}", flush=True)
    print(f"[==========] {len(tests)} test(s) run.")
    for left in os.listdir("/dev/shm"):
        if left.startswith(STEM):
            os.unlink(os.path.join("/dev/shm", left))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
