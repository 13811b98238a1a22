#!/usr/bin/env python3
"""--repeat, --profile and what they put into --json: that they are there, agree with each other and change no
result. How long anything takes is not tested.

    cli_timings.py TOOL SOURCE_FOLDER
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

from checks import check, close
from cli_tool import bert, clip, garments, picture, schema, tool, vit
from onnx_cut import cut
from schema import errors

PHASES = ["open", "bind", "plan", "input", "forward", "backward", "rollout", "render"]


def explain(*arguments):
    """(what --json - says, standard error)"""
    r = subprocess.run([tool, *arguments, "--json", "-"], capture_output=True, text=True, timeout=120)
    check(r.returncode == 0, arguments, r.stderr)
    out = json.loads(r.stdout)
    wrong = errors(out, schema)
    check(not wrong, arguments, wrong[:5])
    return out, r.stderr


def check_repeated(*arguments):
    """Three times is once, three times."""
    once, often = explain(*arguments)[0], explain(*arguments, "--repeat", "3")[0]
    for report, repeats in ((once, 1), (often, 3)):
        times = report["timings"]
        check(list(times) == PHASES + ["repeats"] and times["repeats"] == repeats, arguments, times)
        for phase in ("open", "bind", "plan", "input", "forward", "backward"):
            check(times[phase] > 0, phase, "was measured", arguments, repeats)
    for key in once:
        check(key == "timings" or once[key] == often[key], arguments, key, "is the same however often it is done")


def separate_encoders(folder):
    whole = open(os.path.join(clip, "model.onnx"), "rb").read()
    for file in os.listdir(clip):
        if file.endswith((".json", ".txt")):
            shutil.copy(os.path.join(clip, file), folder)
    for file, output in (("vision_model.onnx", "image_embeds"), ("text_model.onnx", "text_embeds")):
        open(os.path.join(folder, file), "wb").write(cut(whole, output, 2))
    return folder


def test_repeat():
    check_repeated(vit, picture, "--top", "2")
    check_repeated(bert, "a wonderful film")
    check_repeated(clip, garments, "--text", "a red coat and a blue bag", "--text", "a green coat", "--table")
    with tempfile.TemporaryDirectory() as folder:
        separate_encoders(folder)
        check_repeated(folder, garments, "--text", "a red coat", "--text", "a green coat", "--contrast", "a green coat")
        page = os.path.join(folder, "page.html")
        times = explain(vit, picture, "--repeat", "2", "--html", page)[0]["timings"]
        check(times["render"] > 0 and "forward" in open(page).read(), "a page was rendered and states times")


def check_profile(report, text, *what):
    phases, rows = report["profile"]["phases"], report["profile"]["operators"]
    check([p["phase"] for p in phases] == PHASES, "every phase", *what)
    for p in phases:
        mine = [r for r in rows if r["phase"] == p["phase"]]
        check(bool(mine) == (p["phase"] in ("forward", "backward")), p["phase"], *what)
        check(p["seconds"] == report["timings"][p["phase"]], "the phases' seconds are the timings", *what)
        for key in ("gflop", "bytes"):
            check(abs(p[key] - sum(r[key] for r in mine)) <= 1e-9 * p[key], "a phase is its operators", key, *what)
        seconds = [r["seconds"] for r in mine]
        check(seconds == sorted(seconds, reverse=True), "largest first", *what)
        check(re.search(rf"^{p['phase']} +\d", text, re.M), "a line for the phase", p["phase"], text)
    for r in rows:
        check(re.search(rf"^{r['phase']} +\S*{r['operator']} +{r['calls']} ", text, re.M), "a line for", r, text)
    check(all(line == line.rstrip() and len(line) <= 100 for line in text.splitlines()), "the table's form", text)


def test_profile():
    plain, text = explain(vit, picture)
    check("profile" not in plain and text == "", "nothing is said unasked", text)
    report, text = explain(vit, picture, "--profile")
    check_profile(report, text, "once")
    again, text = explain(vit, picture, "--profile", "--repeat", "3", "--threads", "1")
    check_profile(again, text, "three times")
    work = [[(r["phase"], r["operator"], r["calls"], round(r["gflop"], 9), r["bytes"]) for r in sorted(
        x["profile"]["operators"], key=lambda r: (r["phase"], r["operator"]))] for x in (report, again)]
    check(work[0] == work[1], "the work does not depend on repetitions and threads", work)
    check(report["explanations"] == plain["explanations"], "counting changes nothing")
    # both products of an attention: 4 N^2 D; less where only some rows are read
    tower = report["explanations"][0]["towers"][0]
    width = 96
    most = 4e-9 * tower["tokens"] ** 2 * width * tower["attentions"]
    counted = [r["gflop"] for r in report["profile"]["operators"] if (r["phase"], r["operator"]) == ("forward", "MatMul")]
    check(len(counted) == 1 and 0.5 * most < counted[0] <= most * (1 + 1e-9), "the attentions' products", counted, most)
    with tempfile.TemporaryDirectory() as folder:
        parts, text = explain(separate_encoders(folder), garments, "--text", "a red coat", "--profile")
        check_profile(parts, text, "two encoders")
        image = [r for r in explain(clip, garments, "--text", "a red coat", "--profile")[0]["profile"]["operators"]
                 if (r["phase"], r["operator"]) == ("forward", "Linear")]
        both = [r for r in parts["profile"]["operators"] if (r["phase"], r["operator"]) == ("forward", "Linear")]
        check(both and image and both[0]["calls"] == image[0]["calls"], "both encoders are counted", both, image)


for test in (test_repeat, test_profile):
    test()
close()
