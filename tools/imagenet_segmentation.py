#!/usr/bin/env python3
"""Turns the published ImageNet-Segmentation file into a folder that `tiba-onnx eval` reads.

    imagenet_segmentation.py gtsegs_ijcv.mat OUT [--synsets FILE] [--limit N]

The file (Guillaumin, Kuettel, Ferrari: "ImageNet Auto-Annotation with Segmentation Propagation", IJCV
2014) is MATLAB 7.3, which is HDF5: value/img and value/gt refer to a picture and to the masks that
people drew, value/id to its name, "n02106662_9070". OUT gets pictures/, masks/ (the first annotator's,
as TiBA's authors do) and truth.json, where every picture's class is "top", the model's own answer: its
synsets are not only those of a classifier. With --synsets, a file with a class's WordNet id in front of
each line in the order of the model's classes, pictures of these classes have their label as well, so that
the tables know which of them the model gets right.

Wants h5py and numpy (Debian: python3-h5py, python3-numpy).
"""
import argparse
import json
import pathlib
import struct
import sys
import zlib

try:
    import h5py
    import numpy as np
except ImportError as missing:
    sys.exit(f"{missing}: wants h5py and numpy (Debian: python3-h5py, python3-numpy)")


def write_png(path, array):
    """Grey [height, width] or colour [height, width, 3]."""
    height, width = array.shape[:2]
    rows = np.ascontiguousarray(array, np.uint8).reshape(height, -1)
    data = np.hstack([np.zeros((height, 1), np.uint8), rows]).tobytes()

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2 if array.ndim == 3 else 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b""))


def picture_at(file, index):
    """MATLAB's arrays come with their axes the other way round."""
    array = np.array(file[file["value/img"][index, 0]])
    array = array.transpose(2, 1, 0) if array.ndim == 3 else array.T
    return array if array.ndim == 3 and array.shape[2] == 3 else np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)


def mask_at(file, index):
    masks = file[file["value/gt"][index, 0]]
    mask = np.array(file[masks[0, 0]]) if masks.dtype == h5py.ref_dtype else np.array(masks)
    return mask.T > 0


def name_at(file, index):
    if "id" not in file["value"]:
        return f"{index + 1:05d}"
    text = file[file["value/id"][index, 0]]
    name = "".join(chr(c) for c in np.array(text).ravel())
    if not name or not all(c.isalnum() or c in "_-" for c in name):
        sys.exit(f"picture {index + 1}: its name '{name}' is no file name")
    return name


def read_labels(path):
    lines = [line.split() for line in path.read_text().splitlines() if line.strip()] if path else []
    return {words[0]: k for k, words in enumerate(lines)}


def convert(how):
    """Writes pictures and masks; what truth.json is to say of them."""
    labels, truth = read_labels(how.synsets), []
    with h5py.File(how.mat, "r") as file:
        if "value/img" not in file or "value/gt" not in file:
            sys.exit(f"{how.mat}: there is no value/img and value/gt in it")
        count = min(len(file["value/img"]), how.limit or sys.maxsize)
        for folder in ("pictures", "masks"):
            (how.out / folder).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            picture, mask, name = picture_at(file, index), mask_at(file, index), name_at(file, index)
            if picture.shape[:2] != mask.shape:
                sys.exit(f"{name}: the picture has {picture.shape[:2]} pixels, its mask {mask.shape}")
            write_png(how.out / "pictures" / f"{name}.png", picture)
            write_png(how.out / "masks" / f"{name}.png", mask * np.uint8(255))
            truth.append({"picture": f"pictures/{name}.png", "classes": ["top"], "masks": {"top": f"masks/{name}.png"}})
            synset = name.split("_")[0]
            if synset in labels:
                truth[-1]["label"] = labels[synset]
    return truth


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("mat", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--synsets", type=pathlib.Path, help="WordNet ids in the order of the model's classes")
    parser.add_argument("--limit", type=int, help="the first N pictures")
    how = parser.parse_args()
    try:
        truth = convert(how)
    except (OSError, KeyError, ValueError, TypeError) as wrong:
        sys.exit(f"{how.mat}: {' '.join(str(wrong).split())}")
    (how.out / "truth.json").write_text(json.dumps(truth, indent=0) + "\n")
    print(f"{len(truth)} pictures, {sum('label' in t for t in truth)} of them with a label")


if __name__ == "__main__":
    main()
