#!/usr/bin/env python3
"""Tests tools/imagenet_segmentation.py on a small file of the published one's form.

    imagenet_segmentation.py TOOL SOURCE_FOLDER

Exit status 77 (skipped) without h5py.
"""
import json
import pathlib
import struct
import subprocess
import sys
import tempfile
import zlib

import numpy as np

from checks import check, close

try:
    import h5py
except ImportError:
    print("no h5py: skipped")
    sys.exit(77)


def make_mat(path, pictures, masks, names):
    """As MATLAB writes a struct array of cells: references to arrays whose axes are the other way round."""
    with h5py.File(path, "w") as file:
        store = file.create_group("#refs#")
        value = file.create_group("value")

        def keep(array):
            return store.create_dataset(f"r{len(store)}", data=array).ref

        def refer(name, references):
            data = value.create_dataset(name, (len(references), 1), dtype=h5py.ref_dtype)
            for i, reference in enumerate(references):
                data[i, 0] = reference

        refer("img", [keep(p.transpose(2, 1, 0) if p.ndim == 3 else p.T) for p in pictures])
        cells = []
        for annotators in masks:
            cell = store.create_dataset(f"r{len(store)}", (len(annotators), 1), dtype=h5py.ref_dtype)
            for i, mask in enumerate(annotators):
                cell[i, 0] = keep(mask.T)
            cells.append(cell.ref)
        refer("gt", cells)
        refer("id", [keep(np.array([[ord(c)] for c in name], np.uint16)) for name in names])


def read_png(path):
    """What write_png of the script writes: rows without a filter."""
    data = path.read_bytes()
    at, body = 8, b""
    while at < len(data):
        size, name = struct.unpack(">I4s", data[at:at + 8])
        if name == b"IHDR":
            width, height, depth, kind = struct.unpack(">IIBB", data[at + 8:at + 18])
        if name == b"IDAT":
            body += data[at + 8:at + 8 + size]
        at += 12 + size
    rows = np.frombuffer(zlib.decompress(body), np.uint8).reshape(height, -1)
    check(depth == 8 and not rows[:, 0].any(), f"{path}: a filter")
    return rows[:, 1:].reshape((height, width, 3) if kind == 2 else (height, width))


def main(tool, source):
    source, rng = pathlib.Path(source), np.random.default_rng(1)
    script = source / "tools/imagenet_segmentation.py"
    pictures = [rng.integers(0, 255, shape).astype(np.uint8) for shape in ((48, 70, 3), (60, 40))]
    masks = [[rng.integers(0, 2, p.shape[:2]).astype(np.uint8) for _ in range(n)] for p, n in zip(pictures, (1, 2))]
    names = ["n00007846_6247", "n02106662_9070"]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        make_mat(folder / "a.mat", pictures, masks, names)
        (folder / "synsets.txt").write_text("n01440764 tench\nn02106662 German shepherd\n")
        run = subprocess.run([sys.executable, script, folder / "a.mat", folder / "out", "--synsets", folder / "synsets.txt"],
                             capture_output=True, text=True)
        check(run.returncode == 0, f"the script: {run.stderr}")
        truth = json.loads((folder / "out/truth.json").read_text())
        check([t["picture"] for t in truth] == [f"pictures/{n}.png" for n in names], "names")
        check([t.get("label") for t in truth] == [None, 1], "labels")
        for t, picture, (mask, *_) in zip(truth, pictures, masks):
            want = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
            check(np.array_equal(read_png(folder / "out" / t["picture"]), want), f"{t['picture']} is another picture")
            got = read_png(folder / "out" / t["masks"]["top"])
            check(np.array_equal(got, 255 * mask), f"{t['picture']}: another mask")
        for kind in ("segmentation", "perturbation"):
            run = subprocess.run([tool, "eval", kind, source / "examples/fashion-vit", folder / "out", "-m", "tiba", "-m",
                                  "random", "--draws", "50", "--json", "-"], capture_output=True, text=True)
            check(run.returncode == 0, f"eval {kind}: {run.stderr}")
            check(run.returncode or json.loads(run.stdout)["items"] == 2, f"eval {kind}: not two items")
        empty = folder / "empty.mat"
        h5py.File(empty, "w").close()
        run = subprocess.run([sys.executable, script, empty, folder / "none"], capture_output=True, text=True)
        check(run.returncode == 1 and "value/img" in run.stderr, f"a file of another form: {run.stderr}")
        (folder / "text.mat").write_text("no HDF5")
        for wrong in ("text.mat", "not there.mat"):
            run = subprocess.run([sys.executable, script, folder / wrong, folder / "none"], capture_output=True, text=True)
            check(run.returncode == 1 and run.stderr.count("\n") == 1 and wrong in run.stderr, f"{wrong}: {run.stderr}")
        check(not (folder / "none").exists(), "a wrong file leaves a folder behind")
    close()


if __name__ == "__main__":
    main(*sys.argv[1:])
