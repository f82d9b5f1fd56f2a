#!/usr/bin/python3
"""make fuzz: each target under libFuzzer, from its corpus and imap.dict.

    SECONDS=600   for each target
    ONLY=tok,cmd  some of them

As many at once as there are cores. What libFuzzer adds to a corpus stays in build/libfuzzer/corpus, for the next run; an input that
breaks something goes to build/libfuzzer/found: mend it, and put it into tests/fuzz/corpus, where make check replays it."""
import argparse
import concurrent.futures
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = "build/libfuzzer"
OPTIONS = "-O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer"
LIBRARIES = "libuv libssl libcrypto hiredis libconfuse jansson zlib libcurl".split()
INPUT_MAX = 64 * 1024  # bytes; parsers see no more at once


def targets():
    return sorted(re.sub(r"^fuzz_|\.c$", "", x) for x in os.listdir(HERE) if x.startswith("fuzz_") and x.endswith(".c"))


def build(names):
    subprocess.run(["make", "-s", f"-j{os.cpu_count()}", "CC=clang", f"CFLAGS={OPTIONS}", f"BUILD={BUILD}",
                    f"{BUILD}/libproxy.a", f"{BUILD}/libimapferry.a"], cwd=ROOT, check=True)
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", *LIBRARIES], capture_output=True, text=True, check=True).stdout.split()
    systemd = subprocess.run(["pkg-config", "--libs", "libsystemd"], capture_output=True, text=True, check=False).stdout.split()
    for name in names:
        subprocess.run(["clang", *OPTIONS.replace("fuzzer-no-link", "fuzzer").split(), "-std=gnu11", "-D_GNU_SOURCE", "-I.",
                        f"-I{BUILD}/gen", "-o", f"{BUILD}/{name}", f"tests/fuzz/fuzz_{name}.c", f"{BUILD}/libproxy.a",
                        f"{BUILD}/libimapferry.a", "-Wl,--allow-multiple-definition", *flags, *systemd, "-lpthread"], cwd=ROOT, check=True)


def fuzz(name, seconds):
    """(found nothing, what is to be said)"""
    grown, found = os.path.join(BUILD, "corpus", name), os.path.join(BUILD, "found", name)
    for folder in (grown, found):
        os.makedirs(os.path.join(ROOT, folder), exist_ok=True)
    run = subprocess.run([f"{BUILD}/{name}", f"-max_total_time={seconds}", f"-max_len={INPUT_MAX}", "-timeout=10", "-rss_limit_mb=2048",
                          "-dict=tests/fuzz/imap.dict", f"-artifact_prefix={found}/", "-print_final_stats=1", grown,
                          f"tests/fuzz/corpus/{name}"],
                         cwd=ROOT, capture_output=True, text=True, errors="replace", timeout=seconds + 300, check=False)
    ran = re.search(r"number_of_executed_units:\s*(\d+)", run.stderr)
    covered = re.findall(r"cov: (\d+)", run.stderr)
    if run.returncode == 0 and ran:
        return True, f"fuzz: {name}: {ran[1]} inputs, {covered[-1] if covered else 0} edges, nothing found"
    return False, f"fuzz: {name}: FOUND something (see {found})\n{run.stderr[-3000:]}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    names = [x for x in targets() if not args.only or x in args.only.split(",")]
    if not names:
        parser.error(f"expected some of {', '.join(targets())}")
    build(names)
    good = True
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for fine, text in pool.map(lambda name: fuzz(name, args.seconds), names):
            print(text, flush=True)
            good = good and fine
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
