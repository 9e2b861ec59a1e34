#!/usr/bin/python3
"""wedge dump against running programs whose own file is damaged, or made to lead astray: sections, symbols, DWARF and
unwind tables. The dump ends in time, says who waits in what, and leaves the program running.

usage: test_hostile_files.py WEDGE PROGRAM [ROUNDS]     PROGRAM: stacks_target_o2
"""
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import time

WEDGE, PROGRAM = sys.argv[1:3]
ROUNDS = int(sys.argv[3]) if len(sys.argv) > 3 else 4
LONGEST_S = 40
SECTION = struct.Struct("<IIQQQQIIQQ")  # Elf64_Shdr


class Image:
    """A 64-bit ELF file, to be spoiled."""

    def __init__(self, data):
        self.data = bytearray(data)
        self.table, = struct.unpack_from("<Q", data, 40)
        self.count, names = struct.unpack_from("<H", data, 60)[0], struct.unpack_from("<H", data, 62)[0]
        rows = [SECTION.unpack_from(data, self.table + i * SECTION.size) for i in range(self.count)]
        strings = rows[names][4]
        self.sections = {data[strings + r[0]:data.index(b"\0", strings + r[0])].decode(): (i, r[4], r[5])
                         for i, r in enumerate(rows)}

    def flip(self, chance, start, size, times):
        for _ in range(times if size else 0):
            self.data[start + chance.randrange(size)] = chance.randrange(256)

    def flip_sections(self, chance, names, times):
        for name in names:
            if name in self.sections:
                _, start, size = self.sections[name]
                self.flip(chance, start, size, times)


def debug_info(image, chance):
    image.flip_sections(chance, [n for n in image.sections if n.startswith(".debug_")], 40)


def abbreviations(image, chance):
    image.flip_sections(chance, [".debug_abbrev"], 4)


def symbols(image, chance):
    image.flip_sections(chance, [".symtab", ".strtab"], 200)


def section_table(image, chance):
    image.flip(chance, image.table, image.count * SECTION.size, 30)


def unwind_tables(image, chance):
    image.flip_sections(chance, [".eh_frame"], 60)


def search_table(image, chance):
    image.flip_sections(chance, [".eh_frame_hdr"], 20)


def unwind_encodings(image, chance):
    _, start, _ = image.sections[".eh_frame_hdr"]
    struct.pack_into("<4B", image.data, start, 1, *(chance.choice([0x1b, 0x00, 0x50, 0xff, 0x3b]) for _ in range(3)))


def many_entries(image, chance):
    _, start, _ = image.sections[".eh_frame_hdr"]
    struct.pack_into("<I", image.data, start + 8, chance.choice([0xffffffff, 0x7fffffff, 0x1000000, 0]))


def no_sections(image, chance):
    struct.pack_into("<Q", image.data, 40, chance.choice([len(image.data) - 1, 1 << 62, 3]))


def many_sections(image, chance):
    struct.pack_into("<HH", image.data, 60, chance.choice([0xffff, 0, 0xfeff]), 0xffff)


def huge_section(image, chance):
    at = image.table + image.sections[".debug_info"][0] * SECTION.size
    struct.pack_into("<Q", image.data, at + 32, chance.choice([1 << 63, len(image.data), (1 << 64) - 1]))


def packed_bomb(image, chance):
    """.debug_info says that it is compressed, and how large it will be."""
    row, start, _ = image.sections[".debug_info"]
    at = image.table + row * SECTION.size
    flags, = struct.unpack_from("<Q", image.data, at + 8)
    struct.pack_into("<Q", image.data, at + 8, flags | 0x800)  # SHF_COMPRESSED
    struct.pack_into("<IIQQ", image.data, start, 1, 0, chance.choice([1 << 40, 1 << 62, 1 << 31]), 1)


WAYS = [debug_info, abbreviations, symbols, section_table, unwind_tables, search_table, unwind_encodings, many_entries,
        no_sections, many_sections, huge_section, packed_bomb]


def examine(path, where):
    """Runs the program of `path`, dumps it, and returns the report and the seconds it took."""
    target = subprocess.Popen([path, "read"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        while target.stdout.readline() not in (b"ready\n", b""):
            pass
        with tempfile.TemporaryDirectory() as folder:
            began = time.monotonic()
            done = subprocess.run([WEDGE, "dump", "-q", "-o", folder, str(target.pid)], capture_output=True,
                                  timeout=LONGEST_S, stdin=subprocess.DEVNULL)
            took = time.monotonic() - began
            assert done.returncode == 0, (where, done)
            with open(os.path.join(folder, "report.json"), encoding="utf-8") as f:
                report = json.load(f)
        assert target.poll() is None, where
        with open("/proc/%d/stat" % target.pid, encoding="ascii") as f:
            assert f.read().rsplit(")", 1)[1].split()[0] in "SR", where
        return report, took
    finally:
        target.kill()
        target.communicate()


def threads_of(report):
    return [thread for process in report["processes"] for thread in process["threads"]]


def damaged(folder):
    with open(PROGRAM, "rb") as f:
        whole = f.read()
    for way in WAYS:
        lost = slowest = 0
        for seed in range(ROUNDS):
            where = "%s, seed %d" % (way.__name__, seed)
            image, chance = Image(whole), random.Random(where)
            way(image, chance)
            path = os.path.join(folder, "program")
            with open(path, "wb") as f:
                f.write(image.data)
            os.chmod(path, 0o700)
            report, took = examine(path, where)
            os.unlink(path)
            threads = threads_of(report)
            assert threads and any(t["wait"]["call"] == "read" for t in threads), (where, threads)
            # A stack, or the word why there is none.
            assert threads[0]["stack"] is not None or threads[0]["stack_note"], (where, threads)
            lost += threads[0]["stack"] is None
            slowest = max(slowest, took)
        print("%-17s %d rounds, %d without a stack, at most %.1f s" % (way.__name__, ROUNDS, lost, slowest), flush=True)


def astray(folder):
    """DWARF that refers to an alternative file, which is a FIFO: libdw opens it by its name."""
    fifo, section, path = (os.path.join(folder, name) for name in ("fifo", "section", "program"))
    os.mkfifo(fifo)
    with open(section, "wb") as f:
        f.write(fifo.encode() + b"\0" + bytes(range(20)))
    subprocess.run(["objcopy", "--add-section", ".gnu_debugaltlink=" + section, PROGRAM, path], check=True)
    with open(path, "rb") as f:
        image = Image(f.read())
    _, start, size = image.sections[".debug_abbrev"]
    # DW_AT_name, DW_FORM_strp becomes DW_AT_name, DW_FORM_strp_sup: a string of that other file.
    plain = bytes(image.data[start:start + size])
    assert b"\x03\x0e" in plain
    image.data[start:start + size] = plain.replace(b"\x03\x0e", b"\x03\x1d")
    with open(path, "wb") as f:
        f.write(image.data)
    os.chmod(path, 0o700)
    report, took = examine(path, "astray")
    main_thread = threads_of(report)[0]
    assert main_thread["stack"] is not None and len(report["stacks"][main_thread["stack"]]) > 3, main_thread
    print("astray            %.1f s" % took, flush=True)


def main():
    with tempfile.TemporaryDirectory() as folder:
        astray(folder)
    with tempfile.TemporaryDirectory() as folder:
        damaged(folder)


main()
