"""The cases of a zoo, measured in parallel.

    from zoo_cases import measure
    done = measure(root, part, lambda root, case: ...)

`root` holds cases.json and a folder for each case (see zoo.py); where there is none, the folder of its
name below TIBA_SHARED is taken. Without either the process ends with status 77 (skipped).
"""
import concurrent.futures
import json
import os
import pathlib
import sys


def measure(root, part, one):
    """What one(root, case) returns for each case whose name has `part` in it."""
    root = pathlib.Path(root)
    if not root.exists() and "TIBA_SHARED" in os.environ:
        root = pathlib.Path(os.environ["TIBA_SHARED"]) / root.name
    if not (root / "cases.json").exists():
        print(f"{root}: not there, skipped")
        sys.exit(77)
    cases = [c for c in json.loads((root / "cases.json").read_text()) if part in c["case"]]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda case: one(root, case), cases))
