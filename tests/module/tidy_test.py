"""Runs clang-tidy, with the checks of .clang-tidy, on the module's own sources."""

import argparse
import concurrent.futures
import json
import re
import subprocess
import sys


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--clang-tidy", required=True)
    parser.add_argument("--build", required=True, help="the directory of compile_commands.json")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()

    with open(f"{arguments.build}/compile_commands.json", encoding="utf-8") as file:
        commands = json.load(file)
    ours = re.compile(r" -o (vault|mechanisms|pkcs11)/")
    sources = sorted(
        entry["file"]
        for entry in commands
        if ours.search(entry["command"]) and entry["file"].endswith(".cc")
    )
    if len(sources) < 100:
        print(f"only {len(sources)} sources of the module in compile_commands.json")
        return 1

    def check(source):
        command = [arguments.clang_tidy, "-p", arguments.build, "--quiet"]
        # The commands are GCC's.
        command += ["--extra-arg=-Wno-unknown-warning-option", source]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        return done.returncode, done.stdout

    failed = 0
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        for source, (code, output) in zip(sources, pool.map(check, sources)):
            if code != 0:
                failed += 1
                print(output or f"{source}: clang-tidy ended with {code}")
    print(f"{len(sources)} sources, {failed} with findings")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
