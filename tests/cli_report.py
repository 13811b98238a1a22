#!/usr/bin/env python3
"""What `tiba-onnx` shows: JSON against its schema, the terminal through a pseudo-terminal, the page in
headless Chromium (skipped where there is none), batches that are killed and resumed.

    cli_report.py TOOL SOURCE_FOLDER [TEST...]
"""
import fcntl
import json
import math
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unicodedata
import zlib

from checks import check, close
from onnx_cut import cut, node, producers, tensor
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


def test_json():
    out = explain(vit, picture, "--top", "2", "--repeat", "2")
    check(out["kind"] == "classes" and len(out["explanations"]) == 2, "two classes")
    import hashlib
    digest = hashlib.sha256(open(os.path.join(vit, "model.onnx"), "rb").read()).hexdigest()
    check(out["model"]["sha256"] == digest, "SHA-256")
    check(out["timings"]["repeats"] == 2, "repeats")
    tower = out["explanations"][0]["towers"][0]
    flat = [v for row in tower["grid"]["values"] for v in row]
    check(flat == tower["relevance"][tower["grid"]["prefix_tokens"]:], "the grid is the patches' relevance")
    check([min(flat), max(flat)] == tower["grid"]["range"], "raw range")
    check(abs(tower["conservation"]["residual"]) < 1e-3, "relevance is conserved")
    for value in flat:
        check(struct.unpack("f", struct.pack("f", value))[0] == value, "a float32 that reads back", value)
    broken = json.loads(json.dumps(out))
    del broken["explanations"][0]["target"]["logit"]
    broken["scores"][0][0]["index"] = "0"
    check(len(errors(broken, schema)) == 2, "the schema notices what is missing or wrong")


def test_words():
    text = "Truly unforgettable – a touching déjà-vu, but too long"
    out = explain(bert, text)
    words, tokens = out["explanations"][0]["text"]["words"], out["explanations"][0]["text"]["tokens"]
    check(len(tokens) == out["explanations"][0]["towers"][0]["tokens"], "a value for each token")
    for i, word in enumerate(words):
        pieces = [t["value"] for t in tokens if t["word"] == i]
        check(pieces and abs(sum(pieces) - word["value"]) < 1e-12, "a word is the sum of its pieces", word)
        check(text[word["start"]:word["end"]] == word["word"], "offsets in code points", word)
        raw = text.encode()[word["start_utf8"]:word["end_utf8"]].decode()
        check(raw == word["word"], "offsets in bytes", word)
    check(any(sum(t["word"] == i for t in tokens) > 1 for i in range(len(words))), "some word has several pieces")
    special = [t for t in tokens if t["special"]]
    check([t["token"] for t in special] == ["[CLS]", "[SEP]"], "special tokens are listed", special)
    check(all(t["word"] is None for t in special), "and belong to no word")
    high = out["explanations"][0]["text"]["range"][1]
    check(high == max(w["value"] for w in words) and special[0]["value"] > high, "and do not scale")


def test_pairs():
    texts = ["--text", "a red coat and a blue bag", "--text", "a green coat"]
    out = explain(clip, garments, *texts, "--table")
    check(out["kind"] == "pairs" and len(out["scores"][0]) == 2, "a score for each text")
    inputs = {t["input"] for t in out["explanations"][0]["towers"]}
    check(inputs == {"pixel_values", "input_ids"}, "both towers", inputs)
    check(len(out["table"]) == 7, "a row for each word", len(out["table"]))
    best = out["scores"][0][0]["label"]
    row = out["table"][0]
    alone = {s["label"]: s["logit"] for s in explain(clip, garments, "--text", best, "--text", row["without"])["scores"][0]}
    check(abs(alone[best] - alone[row["without"]] - row["share"]) < 1e-4, "a share is a difference of scores")
    signed = explain(clip, garments, *texts, "--signed", "--choose", "2")
    target = signed["explanations"][0]["target"]
    check(target["label"] == "a green coat" and signed["method"]["signed"], "the second text, signed")
    gap = explain(clip, garments, "--text", texts[1], "--contrast", texts[3])
    target = gap["explanations"][0]["target"]
    scores = {s["label"]: s["logit"] for s in gap["scores"][0]}
    check(abs(target["logit"] - scores[texts[1]] + scores[texts[3]]) < 1e-4, "the difference", target)
    check(gap["explanations"][0]["other_text"]["text"] == texts[3], "words of both texts")
    for wrong in (["--contrast", "x"], ["--choose", "1"], ["--table"]):
        run(vit, picture, *wrong, status=2)
    run(clip, garments, *texts, "--choose", "3", status=2)
    run(clip, garments, *texts, "--signed", "--method", "rollout", status=2)


def on_terminal(arguments, environment, columns=80):
    """What the program writes when its standard output is a terminal."""
    pid, fd = pty.fork()
    if pid == 0:
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        os.environ.update(environment)
        os.execv(tool, [tool, *arguments])
    text = b""
    while True:
        try:
            part = os.read(fd, 65536)
        except OSError:
            break
        if not part:
            break
        text += part
    os.waitpid(pid, 0)
    os.close(fd)
    return text.decode()


def test_terminal():
    words = [bert, "a wonderful film, but too long"]
    plain = run(*words).stdout
    check("\033" not in plain and re.search(r"[-+]\d\.\d+e-\d\d .*wonderful", plain), "plain text with values", plain)
    for environment, escape in (({"TERM": "xterm-256color", "COLORTERM": "truecolor", "NO_COLOR": ""}, "\033[48;2;"),
                                ({"TERM": "xterm-256color", "COLORTERM": "", "NO_COLOR": ""}, "\033[48;5;")):
        text = on_terminal(words, environment)
        check(escape in text and text.count("\033[0m") >= 6, "coloured words", text)
        check("special tokens, not scaled: [CLS]" in text and "scale:" in text, "scale and special tokens", text)
    text = on_terminal(words, {"TERM": "xterm", "NO_COLOR": "1"})
    check("\033" not in text, "NO_COLOR", text)
    with tempfile.TemporaryDirectory() as folder:
        png = os.path.join(folder, "x.png")
        colors = {"TERM": "xterm", "COLORTERM": "truecolor", "NO_COLOR": ""}
        text = on_terminal([vit, picture, "-o", png], colors)
        check(text.count("▀") == 32 * 16 and "bag" in text, "a thumbnail in half blocks")
        long = on_terminal([bert, " ".join(["a wonderful cast, but 長い"] * 15)], colors, columns=60)
        plain = [re.sub("\033[^m]*m", "", line) for line in long.splitlines()]
        wide = [len(line) + sum(unicodedata.east_asian_width(c) == "W" for c in line) for line in plain]
        check(max(wide) <= 60 and any("cast" in line for line in plain), "words wrap where the terminal ends", max(wide))
    text = on_terminal([bert, "good\x1b[2Jfilm"], {"TERM": "xterm", "NO_COLOR": "1"})
    check("\033" not in text, "control characters of an input do not reach the terminal")


def read_png(path):
    data = open(path, "rb").read()
    width, height = struct.unpack(">II", data[16:24])
    at, packed = 8, b""
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        if kind == b"IDAT":
            packed += data[at + 8:at + 8 + size]
        at += size + 12
    raw, stride, rows = zlib.decompress(packed), 3 * width, []
    before = bytearray(stride)
    for y in range(height):
        kind = raw[y * (stride + 1)]
        line = bytearray(raw[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
        for i in range(stride):
            a = line[i - 3] if i >= 3 else 0
            b, c = before[i], before[i - 3] if i >= 3 else 0
            p = a + b - c
            nearest = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            line[i] = (line[i] + (0, a, b, (a + b) // 2, nearest)[kind]) & 255
        rows.append(line)
        before = line
    return width, height, rows


def test_overlay():
    stored = read_png(os.path.join(source, "tests", "data", "report", "panel.png"))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "panel.png")
        small = os.path.join(source, "tests", "data", "img", "pictures", "small_37x23.png")
        run(vit, small, "--class", "bag", "-o", path)
        new = read_png(path)
        check(new[:2] == stored[:2], "the panel's size", new[:2], stored[:2])
        worst = max(abs(a - b) for x, y in zip(new[2], stored[2]) for a, b in zip(x, y))
        check(worst <= 3, "the panel as stored", worst)
        for colors in ("jet", "viridis", "magma", "gray", "diverging"):
            other = os.path.join(folder, colors + ".png")
            run(vit, picture, "--colormap", colors, "--opacity", "0.9", "-o", other)
        run(vit, picture, "--colormap", "rainbow", "-o", path, status=2)
        run(vit, picture, "--opacity", "1.5", "-o", path, status=2)
        check(open(path, "rb").read()[:4] == b"\x89PNG", "a failed run leaves the old file")
        run(vit, small, "--overlay", other)
        check(read_png(other)[:2] == (37, 23), "the map over the picture alone has the picture's size")
        run(vit, picture, "-o", os.path.join(folder, "x.jpg"), status=2)
        check("two outputs" in run(vit, picture, "-o", path, "--html", path, status=2).stderr, "one file, two outputs")
        texts = ["--text", "the white boot beside the blue bag", "--contrast", "the green boot beside the blue bag"]
        run(clip, garments, *texts, "--table", "-o", path)
        one, _, _ = read_png(path)
        run(clip, garments, "--text", "白い靴と青い鞄", "--text", "x", "--choose", "1", "--truncate", "-o", path)
        check(one > 0 and read_png(path)[0] > 0, "long captions and foreign scripts")


DRIVER = """<script>
var out = {errors: errors};
function all(q) { return Array.prototype.slice.call(document.querySelectorAll(q)); }
function seen() { return all('.view').filter(function(v) { return v.offsetHeight > 0; }).length; }
function shown() { return all('.view[data-view="1"] .stage.main .map').filter(
  function(m) { return m.offsetHeight > 0; }).map(function(m) { return m.dataset.layer; }); }
window.addEventListener('load', function() {
  out.before = seen();
  all('input[name=view]')[1].click();
  out.after = seen(); out.second = all('.view')[1].offsetHeight > 0;
  out.layer0 = shown(); all('.view[data-view="1"] input[type=radio]')[2].click(); out.layer1 = shown();
  var o = document.getElementById('opacity'); o.value = 25; o.dispatchEvent(new Event('input'));
  out.opacity = getComputedStyle(all('.view[data-view="1"] .stage.main .map:not([hidden])')[0]).opacity;
  out.requests = performance.getEntriesByType('resource').map(function(e) { return e.name; })
    .filter(function(n) { return n.slice(0, 5) !== 'data:'; });
  out.wide = document.documentElement.scrollWidth > window.innerWidth;
  var p = document.createElement('pre'); p.id = 'result'; p.textContent = JSON.stringify(out);
  document.body.appendChild(p);
});
</script>"""


def browse(browser, folder, text, width, driver=True, more=()):
    if driver:
        text = text.replace("<head>", "<head><script>var errors=[];window.onerror=function(m){errors.push(m)};"
                            "window.addEventListener('securitypolicyviolation',function(e){errors.push(e.blockedURI)});"
                            "</script>", 1).replace("</body>", DRIVER + "</body>", 1)
    path = os.path.join(folder, "driven.html")
    open(path, "w").write(text)
    r = subprocess.run([browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                        f"--user-data-dir={folder}/profile", f"--window-size={width},1200", *more, "--dump-dom",
                        "file://" + path], capture_output=True, text=True, timeout=120)
    m = re.search(r'<pre id="result">(.*?)</pre>', r.stdout, re.S)
    check(m, "the page runs", r.stderr[-300:])
    return json.loads(m.group(1)) if m else None


# The page's own script is gone; this one only looks.
LOOK = """<script>window.addEventListener('load', function() {
  function shown(q) { return Array.prototype.filter.call(document.querySelectorAll(q),
    function(e) { return e.offsetHeight > 0; }).length; }
  var ground = getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number);
  var p = document.createElement('pre'); p.id = 'result';
  p.textContent = JSON.stringify({views: shown('.view'), controls: shown('.control'), dark: ground[0] < 128});
  document.body.appendChild(p); });</script>"""


def seen_without_script(browser, folder, text, more):
    return browse(browser, folder, text.replace("</body>", LOOK + "</body>", 1), 900, driver=False, more=more)


def printed(browser, folder, text):
    """How many sheets it takes."""
    path, pdf = os.path.join(folder, "page.html"), os.path.join(folder, "page.pdf")
    open(path, "w").write(text)
    subprocess.run([browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                    f"--user-data-dir={folder}/profile", "--print-to-pdf=" + pdf, "file://" + path],
                   capture_output=True, timeout=120)
    return len(re.findall(rb"/Type\s*/Page\b", open(pdf, "rb").read())) if os.path.exists(pdf) else 0


def test_page():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "page.html")
        run(vit, picture, "--top", "2", "--html", path)
        text = open(path).read()
        body = text[text.index("<body>"):text.index("<script>")]
        check(not re.search(r'(?:src|href)="?(?!data:)[a-z]+:', text), "nothing is fetched")
        check("<table" in body and "bag" in body and "SHA-256" in body, "readable without the script")
        check("default-src 'none'" in text, "and nothing could be")
        run(bert, "<script>alert(1)</script> & \"good\"", "--html", path)
        check("<script>alert" not in open(path).read(), "texts are no markup")
        browser = shutil.which("chromium") or shutil.which("chromium-browser")
        if not browser:
            print("no chromium: the page was not opened")
            return
        bare = re.sub("<script>.*</script>", "", text, flags=re.S)
        for look in ([], ["--blink-settings=preferredColorScheme=0"]):
            views = seen_without_script(browser, folder, bare, look)
            check(views == {"views": 2, "controls": 0, "dark": bool(look)}, "without the script all is shown", views)
        pages = printed(browser, folder, text)
        check(2 <= pages <= 6, "a few pages when printed", pages)
        for width in (500, 1200):
            out = browse(browser, folder, text, width)
            if not out:
                return
            check(out["errors"] == [] and out["requests"] == [], "no error, no request", out)
            check(out["before"] == 1 and out["after"] == 1 and out["second"], "classes are switched", out)
            check(out["layer0"] == ["all"] and out["layer1"] == ["1"], "layers are switched", out)
            check(abs(float(out["opacity"]) - 0.25) < 1e-6, "the slider fades the map", out)
            check(not out["wide"], "no sideways scrolling", width)


def lines_of(path):
    if not os.path.exists(path):
        return []
    whole = open(path).read()
    return [json.loads(line) for line in whole[:whole.rfind("\n") + 1].splitlines()]


def core(path):
    out = json.load(open(path))
    return out["scores"], out["explanations"]


def test_batch():
    pictures = os.path.join(vit, "pictures")
    with tempfile.TemporaryDirectory() as folder:
        listing = os.path.join(folder, "list.txt")
        names = sorted(n for n in os.listdir(pictures) if n.endswith(".png"))
        with open(listing, "w") as f:
            for _ in range(6):
                f.writelines(os.path.join(pictures, n) + "\n" for n in names)
            f.write("missing.png\n")
        out = os.path.join(folder, "out")
        index = os.path.join(out, "index.jsonl")
        command = [tool, "batch", vit, listing, "-O", out, "--jobs", "2"]
        seen = set()
        for wait in (0.15, 0.4, 0.7):
            p = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(wait)
            p.send_signal(signal.SIGKILL)
            p.wait()
            found = [line["name"] for line in lines_of(index)]
            check(len(found) == len(set(found)) and seen <= set(found), "nothing is redone or lost", found)
            seen = set(found)
        r = subprocess.run(command, capture_output=True, text=True, timeout=300)
        found = [line["name"] for line in lines_of(index)]
        check(r.returncode == 1 and ("missing" in r.stderr or "items failed" in r.stderr), "a bad item shows in the exit status", r.stderr)
        check(len(found) == len(set(found)) == 6 * len(names) + 1, "every item once", len(found))
        check(sum(line["status"] == "failed" for line in lines_of(index)) == 1, "one failed")
        check(not [n for n in os.listdir(out) if not n.endswith((".json", ".jsonl", "batch.txt"))], "no leftovers")
        first = [line for line in lines_of(index) if line["status"] == "done"][0]
        single = os.path.join(folder, "single.json")
        run(vit, first["item"], "--json", single)
        check(core(single) == core(os.path.join(out, first["name"] + ".json")), "as a run of its own")
        run("batch", vit, listing, "-O", out, "--top", "2", status=2)
        shards = os.path.join(folder, "shards")
        for i in "123":
            run("batch", vit, pictures, "-O", shards, "--shard", i + "/3", "--jobs", "1")
        found = [n for i in "123" for n in lines_of(os.path.join(shards, f"index-{i}-of-3.jsonl"))]
        check(len(found) == len(names), "shards share the items", len(found))
        check(core(os.path.join(shards, names[0][:-4] + ".json"))[1] ==
              core(os.path.join(out, names[0][:-4] + "~1.json"))[1], "the same at any number of workers")


def workers_of(pid):
    path = f"/proc/{pid}/task/{pid}/children"
    try:
        return [int(child) for child in open(path).read().split()]
    except OSError:
        return []


def test_dying_workers():
    """Whenever a worker dies, the batch goes on with another one and loses no item."""
    with tempfile.TemporaryDirectory() as folder:
        listing = os.path.join(folder, "list.txt")
        with open(listing, "w") as f:
            f.write((picture + "\n") * 60)
        out = os.path.join(folder, "out")
        p = subprocess.Popen([tool, "batch", vit, listing, "-O", out, "--jobs", "2"], stdout=subprocess.DEVNULL,
                             stderr=subprocess.PIPE, text=True)
        killed = set()
        while p.poll() is None and len(killed) < 6:
            for child in workers_of(p.pid):
                if child not in killed:
                    try:
                        os.kill(child, signal.SIGKILL)
                    except ProcessLookupError:
                        continue
                    killed.add(child)
            time.sleep(0.002)
        _, said = p.communicate(timeout=120)
        lines = lines_of(os.path.join(out, "index.jsonl"))
        check(len({line["name"] for line in lines}) == len(lines) == 60, "every item once", len(lines))
        dead = [line for line in lines if line["status"] == "failed"]
        check(len(dead) <= len(killed) and p.returncode == (1 if dead else 0), "each death costs an item at most", len(dead))
        check(all("signal 9" in line["error"] for line in dead), "and the index says why", dead[:1])
        check(said.count("signal 9") == len(dead), "as does standard error", said)


COMMANDS = ("explain", "batch", "compare", "eval", "inspect", "preprocess", "tokenize", "ops")
# The sections of the man page that hold a command's options.
SECTIONS = {"explain": ["WHAT TO EXPLAIN", "HOW", "INPUTS", "RESULTS"],
            "batch": ["BATCH", "WHAT TO EXPLAIN", "HOW", "INPUTS", "RESULTS"], "ops": []}


def options_in(text):
    return set(re.findall(r"--[a-z][a-z-]*", text)) - {"--help"}


def test_help():
    """Help, man page and completion know the same options."""
    page = open(os.path.join(source, "docs", "tiba-onnx.1")).read().replace("\\-", "-")
    parts = re.split(r"^\.SH (.*)$", page, flags=re.M)
    sections = dict(zip(parts[1::2], parts[2::2]))
    known = {}
    for command in COMMANDS:
        lines = run(command, "--help").stdout.splitlines()
        check(len(lines) <= 26 and max(map(len, lines)) <= 80, "the help fits a screen", command, len(lines))
        known[command] = options_in("\n".join(lines)) - ({"--version"} if command != "ops" else set())
        documented = set()
        for name in SECTIONS.get(command, [command.upper()]):
            documented |= options_in(sections[name])
        check(known[command] <= documented, "in the man page", command, known[command] - documented)
        check(f"\n{command}\n" in sections["COMMANDS"] or f" {command}\n" in sections["COMMANDS"], "command", command)
    everything = set().union(*known.values())
    for name, text in sections.items():
        check(options_in(text) <= everything, "the man page's options are there", name, options_in(text) - everything)
    check(all(f"  {c} " in run("--help").stdout for c in COMMANDS), "commands are listed")
    bash = shutil.which("bash")
    if bash:
        def complete(*words):
            line = (f". {source}/completions/tiba-onnx.bash; COMP_WORDS=({tool} {' '.join(words)});"
                    f" COMP_CWORD={len(words)}; _tiba_onnx; echo ${{COMPREPLY[@]}}")
            return subprocess.run([bash, "-c", line], capture_output=True, text=True, cwd="/").stdout.split()
        check(set(complete("explain", "--col")) == {"--colormap", "--color"}, "options are completed")
        check("batch" in complete("ba"), "commands are completed")
        check(complete("explain", "--method", "grad") == ["grad-x-input"], "methods are completed")
        check(set(complete("eval", "per")) == {"perturbation"}, "kinds are completed", complete("eval", "per"))
        for command in COMMANDS:
            check(set(complete(command, "--")) - {"--help"} == known[command], "completion", command)


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


def test_separate_encoders():
    whole = open(os.path.join(clip, "model.onnx"), "rb").read()
    texts = ["a white boot and a blue bag", "a green boot and a blue bag"]
    with tempfile.TemporaryDirectory() as folder:
        parts = make_folder(folder, "parts", clip, {"vision_model.onnx": cut(whole, "image_embeds", 2),
                                                    "text_model.onnx": cut(whole, "text_embeds", 2)})
        one = explain(clip, garments, *texts)
        unscaled = explain(parts, garments, *texts, "--scale", "1")
        scale = one["scores"][0][0]["logit"] / unscaled["scores"][0][0]["logit"]
        for more in ([], ["--contrast", texts[1], "--choose", "1"], ["--signed"]):
            a = explain(clip, garments, *texts, *more)["explanations"][0]
            b = explain(parts, garments, *texts, *more, "--scale", repr(scale))["explanations"][0]
            grids = [[v for t in x["towers"] if t["grid"] for row in t["grid"]["values"] for v in row] for x in (a, b)]
            check(near(grids[1], grids[0]), "two encoders give the graph's map", more)
            for part in ("text", "other_text"):
                if a[part]:
                    words = [[w["value"] for w in x[part]["words"]] for x in (a, b)]
                    check(near(words[1], words[0]), "and its words", more, part)
            check((a["other_text"] is None) == (b["other_text"] is None), "both have the other text", more)
        run(parts, garments, status=2)
        run(parts, garments, *texts, "--table", status=2)


def test_outputs():
    data = open(os.path.join(bert, "model.onnx"), "rb").read()
    by_name = producers(data)
    hidden = [name for name, (kind, _) in by_name.items() if kind == "LayerNormalization"][-1]
    text = "a wonderful film"
    weight = b"".join(struct.pack("<f", ((i * 2654435761) % 1000) / 500 - 1) for i in range(128 * 3))
    with tempfile.TemporaryDirectory() as folder:
        multi = make_folder(folder, "multi", bert, {"model.onnx": data}, problem_type="multi_label_classification")
        out = explain(multi, text)
        check(out["kind"] == "multi-label", "multi-label")
        for s in out["scores"][0]:
            check(abs(s["probability"] - 1 / (1 + math.exp(-s["logit"]))) < 1e-9, "sigmoid", s)
        one = struct.pack("<q", 1)
        value = cut(data, "score", 2, [node("Gather", ["logits", "one"], "score", axis=1)], [tensor("one", 7, [1], one)])
        out = explain(make_folder(folder, "regression", bert, {"model.onnx": value}, problem_type="regression",
                                  id2label={"0": "stars"}), text)
        check(out["kind"] == "regression" and out["explanations"][0]["target"]["label"] == "stars", "regression")
        check(out["scores"][0][0]["probability"] is None, "a number has no probability")
        tags = cut(data, "tags", 3, [node("MatMul", [hidden, "w"], "tags")], [tensor("w", 1, [128, 3], weight)])
        tagger = make_folder(folder, "tagger", bert, {"model.onnx": tags}, id2label={"0": "O", "1": "PER", "2": "LOC"})
        out = explain(tagger, text)
        check(out["kind"] == "tokens" and out["notes"], "a tagger's token is chosen, with a note", out["notes"])
        index = out["explanations"][0]["target"]["index"]
        check(len(index) == 3 and 1 <= index[1] <= 3, "an ordinary token", index)
        out = explain(tagger, text, "--target", "2,1")
        check(out["explanations"][0]["target"]["index"] == [0, 2, 1], "--target picks another")
        plain = make_folder(folder, "plain", bert, {"model.onnx": cut(data, hidden, 3)}, id2label=None)
        out = explain(plain, text, "a great movie")
        check(out["kind"] == "similarity", "similarity", out["kind"])
        check(-1 <= out["explanations"][0]["target"]["logit"] <= 1, "a cosine")
        check(out["explanations"][0]["other_text"]["text"] == "a great movie", "both texts have words")
        turned = explain(plain, "a great movie", text)["explanations"][0]
        values = [[w["value"] for w in x["words"]] for x in (turned["other_text"], out["explanations"][0]["text"])]
        check(near(*values), "turned round it is the same")


# A pooling as its setting, and as nodes from the hidden states x; n is the number of tokens.
POOLINGS = {
    "cls_token": lambda n: [node("Gather", ["x", "first"], "pooled", axis=1)],
    "lasttoken": lambda n: [node("Gather", ["x", "last"], "pooled", axis=1)],
    "mean_tokens": lambda n: [node("ReduceMean", ["x"], "pooled", axes=[1], keepdims=0)],
    "max_tokens": lambda n: [node("ReduceMax", ["x"], "pooled", axes=[1], keepdims=0)],
    "mean_sqrt_len_tokens": lambda n: [node("ReduceSum", ["x", "axis1"], "sum", keepdims=0),
                                       node("Div", ["sum", "root"], "pooled")],
    "weightedmean_tokens": lambda n: [node("Mul", ["x", "places"], "weighted"),
                                      node("ReduceSum", ["weighted", "axis1"], "sum", keepdims=0),
                                      node("Div", ["sum", "total"], "pooled")],
}


def test_pooling():
    """Pooling by the folder's word is pooling inside the graph."""
    data = open(os.path.join(bert, "model.onnx"), "rb").read()
    hidden = [name for name, (kind, _) in producers(data).items() if kind == "LayerNormalization"][-1]
    texts, n = ["a wonderful film", "a terrible bore"], 5
    floats = {"root": [math.sqrt(n)], "places": range(1, n + 1), "total": [n * (n + 1) / 2]}
    tensors = [tensor(name, 1, [1, n, 1] if name == "places" else [], struct.pack(f"<{len(v)}f", *v))
               for name, v in floats.items()]
    tensors += [tensor(name, 7, dims, struct.pack("<q", v))
                for name, dims, v in (("first", [], 0), ("last", [], n - 1), ("axis1", [1], 1))]
    with tempfile.TemporaryDirectory() as folder:
        outside = make_folder(folder, "outside", bert, {"model.onnx": cut(data, hidden, 3)}, id2label=None)
        check("tokens' mean" in explain(outside, *texts)["notes"][0], "without a word the mean, with a note")
        os.mkdir(os.path.join(outside, "1_Pooling"))

        def say(settings, file="1_Pooling/config.json"):
            json.dump(settings, open(os.path.join(outside, file), "w"))
        for mode, nodes in POOLINGS.items():
            inside = make_folder(folder, mode, bert, id2label=None, models={"model.onnx": cut(
                data, "pooled", 2, [node("Identity", [hidden], "x"), *nodes(n)], tensors)})
            os.mkdir(os.path.join(inside, "1_Pooling"))
            say({"pooling_mode_" + mode: True})
            a, b = (explain(where, *texts)["explanations"][0] for where in (inside, outside))
            check(near([b["target"]["logit"]], [a["target"]["logit"]], 1e-5), "the same cosine", mode)
            for part in ("text", "other_text"):
                values = [[w["value"] for w in x[part]["words"]] for x in (b, a)]
                check(near(*values, tolerance=1e-3), "the same words", mode, part, values)
        say({"pooling_mode": "weightedmean"})
        check(near([explain(outside, *texts)["explanations"][0]["target"]["logit"]], [a["target"]["logit"]]), "by name")
        say({"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True})
        explain(outside, *texts)
        say({"pooling_mode": "median"})
        check("'median'" in run(outside, *texts, status=1).stderr, "an unknown pooling is named")
        os.rename(os.path.join(outside, "1_Pooling"), os.path.join(outside, "here"))
        say({"pooling_mode_cls_token": True}, "here/config.json")
        kinds = [("", "Transformer"), ("here", "Pooling"), ("2", "Normalize")]
        modules = [{"path": path, "type": "sentence_transformers.models." + kind} for path, kind in kinds]
        say(modules, "modules.json")
        check(not explain(outside, *texts)["notes"], "modules.json says where")
        say(modules + [{"path": "3", "type": "sentence_transformers.models.Dense"}], "modules.json")
        check("Dense" in run(outside, *texts, status=1).stderr, "a module that is not in the graph is refused")


tests = (test_separate_encoders, test_outputs, test_pooling, test_help, test_json, test_words, test_pairs, test_terminal, test_overlay,
         test_page, test_batch, test_dying_workers)
for test in tests:
    if not sys.argv[3:] or test.__name__[len("test_"):] in sys.argv[3:]:
        test()
close()
