"""The program under test by its arguments, TOOL SOURCE_FOLDER, and what the tests of its reports share."""
import json
import os
import shutil
import subprocess
import sys

from checks import check
from schema import errors

tool, source = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
vit, clip, bert = (os.path.join(source, "examples", n) for n in ("fashion-vit", "garment-clip", "movie-sentiment"))
picture = os.path.join(vit, "pictures", "4-bag-and-ankle-boot.png")
garments = os.path.join(clip, "pictures", sorted(os.listdir(os.path.join(clip, "pictures")))[0])
schema = json.load(open(os.path.join(source, "docs", "explanation.schema.json")))


def run(*arguments, status=0, **keywords):
    r = subprocess.run([tool, *arguments], capture_output=True, text=True, timeout=120, **keywords)
    check(r.returncode == status, arguments, r.returncode, r.stderr)
    return r


def explain(*arguments):
    out = json.loads(run(*arguments, "--json", "-").stdout)
    wrong = errors(out, schema)
    check(not wrong, arguments, wrong[:5])
    return out


def make_folder(parent, name, like, models, **config):
    """A copy of a folder's companions with other models and settings."""
    path = os.path.join(parent, name)
    os.mkdir(path)
    for file in os.listdir(like):
        if file.endswith((".json", ".txt")):
            shutil.copy(os.path.join(like, file), path)
    settings = json.load(open(os.path.join(path, "config.json")))
    settings.update(config)
    json.dump(settings, open(os.path.join(path, "config.json"), "w"))
    for file, data in models.items():
        open(os.path.join(path, file), "wb").write(data)
    return path


def near(a, b, tolerance=1e-5):
    most = max(map(abs, b))
    return len(a) == len(b) and all(abs(x - y) <= tolerance * most for x, y in zip(a, b))
