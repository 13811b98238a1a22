#!/usr/bin/env python3
"""What `tiba-onnx` shows: JSON against its schema, the terminal through a pseudo-terminal, the page in
headless Chromium (skipped where there is none), batches that are killed and resumed.

    cli_report.py TOOL SOURCE_FOLDER [TEST...]
"""
import fcntl
import hashlib
import json
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
from chromium import Chromium
from cli_tool import bert, clip, explain, garments, make_folder, near, picture, run, schema, source, tool, vit
from onnx_cut import fixed_samples
from schema import errors


def test_json():
    out = explain(vit, picture, "--top", "2", "--repeat", "2")
    check(out["kind"] == "classes" and len(out["explanations"]) == 2, "two classes")
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


def test_samples():
    """Every sample of a batch has its own numbers, those of a run of its own."""
    texts = ["a wonderful film", "a terrible bore that goes on and on"]
    out = explain(bert, *texts)
    check(len(out["explanations"]) == len(out["scores"]) == 2, "a score and an explanation for each")
    for k, text in enumerate(texts):
        alone = explain(bert, text)["explanations"][0]
        together = out["explanations"][k]
        own, tower = alone["towers"][0], together["towers"][0]
        check(tower["sample"] == k and together["target"]["index"][0] == k, "which sample it is", k)
        check(tower["conservation"] == own["conservation"], "conservation of the sample", k)
        check(together["text"]["words"] == alone["text"]["words"], "its words", k)


def test_fixed_samples():
    """A model that was exported for several samples at once: the last one that is given fills the other places."""
    with tempfile.TemporaryDirectory() as parent:
        for name, like, inputs in (("pictures", vit, [picture]), ("texts", bert, ["a wonderful film", "a bad one"])):
            model = open(os.path.join(like, "model.onnx"), "rb").read()
            folder = make_folder(parent, name, like, {"model.onnx": fixed_samples(model, 4)})
            got, want = explain(folder, *inputs), explain(like, *inputs)
            check(len(got["scores"]) == len(got["explanations"]) == len(inputs), name, "no copies are shown")
            check(any("takes 4 samples at once" in note for note in got["notes"]), got["notes"])
            for one, other in zip(got["explanations"], want["explanations"]):
                a, b = one["towers"][0], other["towers"][0]
                check(a["sample"] == b["sample"] and near(a["relevance"], b["relevance"], 1e-4), name, a["sample"])


def test_companions_above():
    """A file in a folder onnx/, however it is named, has the companions of the folder above; its own folder's come first."""
    with tempfile.TemporaryDirectory() as parent:
        for name, like, given in (("pictures", vit, picture), ("texts", bert, "a wonderful film")):
            folder = make_folder(parent, name, like, {})
            place = os.path.join(folder, "onnx")
            os.mkdir(place)
            file = shutil.copy(os.path.join(like, "model.onnx"), os.path.join(place, "model_q8.onnx"))
            want = explain(like, given)
            for path, cwd in ((file, parent), ("model_q8.onnx", place), (os.path.join(name, "onnx", "model_q8.onnx"), parent)):
                got = json.loads(run(path, given, "--json", "-", cwd=cwd).stdout)
                check(got["scores"] == want["scores"] and got["explanations"] == want["explanations"], "as the folder", name, path)
            said = run(folder, given, status=1).stderr
            check(said.endswith("has no model.onnx; give the file itself, for instance onnx/model_q8.onnx\n"), said)
            elsewhere = os.path.join(folder, "parts")
            os.rename(place, elsewhere)
            if like == bert:
                run(os.path.join(elsewhere, "model_q8.onnx"), given, status=1)
            else:
                noted = explain(os.path.join(elsewhere, "model_q8.onnx"), given)["notes"]
                check(any("no preprocessor_config.json" in note for note in noted), "of no other folder", noted)


def test_digests():
    """The digests are those of the files, external data included."""
    folder = os.path.join(source, "tests", "data", "zoo", "bert-ts14-external")
    inputs = [f"{n[6:-4]}={os.path.join(folder, n)}" for n in sorted(os.listdir(folder)) if n.startswith("input.")]
    out = explain(os.path.join(folder, "model.onnx"), *inputs)

    def digest(name):
        return hashlib.sha256(open(os.path.join(folder, name), "rb").read()).hexdigest()
    check(out["model"]["sha256"] == digest("model.onnx"), "of the model")
    data = out["model"]["external_data"]
    check(data and all(d["sha256"] == digest(d["location"]) for d in data), "of its data", data)


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
        for columns in (24, 40):
            text = on_terminal([vit, picture, "-o", png], colors, columns=columns)
            plain = [re.sub("\033[^m]*m", "", line) for line in text.splitlines()]
            maps = [len(line) for line in plain if "▀" in line]
            check(maps and max(maps) <= columns, "a thumbnail keeps to a narrow terminal", columns, max(maps))
        text = on_terminal([clip, garments, "--text", "a boot", "--signed", "-o", png], {**colors, "COLORTERM": ""})
        scale = re.findall("\033\\[48;5;(\\d+)m", next(line for line in text.splitlines() if "scale:" in line))
        check(len(set(scale)) >= 9, "256 colours tell the steps of a scale apart", scale)
    for arguments in ([bert, "good\x1b[2Jfilm"], ["compare", bert, "good\x1b[2Jfilm", "-m", "rollout"]):
        text = on_terminal(arguments, {"TERM": "xterm", "NO_COLOR": "1"})
        check("\033" not in text and "film" in text, "control characters do not reach the terminal", arguments)


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
        check(read_png(other)[:2] == (140, 23 + 44), "a small picture alone, and a scale that can be read")
        run(vit, picture, "--class", "bag", "--overlay", other)
        check(read_png(other)[:2] == (384, 384 + 44), "the picture at its own size, the scale below")
        pictures = []
        for opacity in ("0", "0.65", "1"):
            run(vit, picture, "--class", "bag", "--opacity", opacity, "--overlay", other)
            pictures.append(read_png(other)[2][:384])
        run(vit, picture, "--class", "bag", "--overlay", other)
        check(read_png(other)[2][:384] == pictures[1] != pictures[0], "an opacity of 0 is no default")
        run(vit, picture, "-o", os.path.join(folder, "x.jpg"), status=2)
        same = os.path.join(folder, "same")
        check("two outputs" in run(vit, picture, "-o", same, "--html", same, status=2).stderr, "one file, two outputs")
        texts = ["--text", "the white boot beside the blue bag", "--contrast", "the green boot beside the blue bag"]
        run(clip, garments, *texts, "--table", "-o", path)
        one, _, _ = read_png(path)
        run(clip, garments, "--text", "白い靴と青い鞄", "--text", "x", "--choose", "1", "--truncate", "-o", path)
        check(one > 0 and read_png(path)[0] > 0, "long captions and foreign scripts")
        r = run(clip, garments, "--text", "白い靴と青い鞄", "--truncate", "-o", path)
        check("'白い靴と青い鞄' 'text 1'" in r.stdout, "what the panel calls a label of another script", r.stdout)
        grey = os.path.join(source, "tests", "data", "img", "pictures", "grey16.png")
        check("16-bit" in run(vit, grey, "-o", path).stdout, "a picture that turned white is explained")
        check("16-bit" not in run(vit, small, "-o", path).stdout, "and only that")
        check("at most" in run(vit, picture, "--top", "99", status=2).stderr, "more classes than are explained at once")


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


WIDTHS = """<script>window.addEventListener('load', function() {
  var all = Array.prototype.slice.call(document.querySelectorAll('.grid'));
  document.querySelectorAll('details').forEach(function(d) { d.open = true; });
  var p = document.createElement('pre'); p.id = 'result';
  p.textContent = JSON.stringify(all.map(function(e) { return e.offsetWidth; })); document.body.appendChild(p); });
</script>"""


def widths_on_paper(browser, folder, text, columns):
    """Of the tables of numbers in the print style, the maps' columns made more."""
    text = text.replace("@media print", "@media all").replace("--columns:8", f"--columns:{8 * columns}")
    text = re.sub(r"((?:<td>[^<]+){8})\n", lambda m: m.group(1) * columns + "\n", text)
    return browse(browser, folder, text.replace("</body>", WIDTHS + "</body>"), 900, driver=False)


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
        run(vit, picture, "--opacity", "0.4", "--html", path)
        check("--opacity:0.40" in open(path).read() and "value=40>" in open(path).read(), "the slider starts where it is told")
        run(clip, garments, "--text", "حذاء boot", "--text", "a boot", "--choose", "1", "--table", "--html", path)
        words = open(path).read()
        check(words.count("<bdi><strong>") == 2 and "<p class=words dir=auto>" in words, "right-to-left words")
        shares = re.findall("<td>([+-][0-9.e+-]+)\n", words)
        check(len(shares) == 2, "what the words add is in a table", shares)
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
        for columns in (1, 2, 4):
            widths = widths_on_paper(browser, folder, text, columns)
            check(widths and max(widths) < 17 * 96 / 2.54 + 1, "numbers fit on paper", columns, widths)
        for width in (500, 1200):
            out = browse(browser, folder, text, width)
            if not out:
                return
            check(out["errors"] == [] and out["requests"] == [], "no error, no request", out)
            check(out["before"] == 1 and out["after"] == 1 and out["second"], "classes are switched", out)
            check(out["layer0"] == ["all"] and out["layer1"] == ["1"], "layers are switched", out)
            check(abs(float(out["opacity"]) - 0.25) < 1e-6, "the slider fades the map", out)
            check(not out["wide"], "no sideways scrolling", width)


# What the keyboard's user sees: where the focus is, which view and layer are shown, what is open.
STATE = """(function() {
  function shown(q) { return Array.prototype.filter.call(document.querySelectorAll(q), function(e) {
    return e.offsetHeight > 0; }); }
  var e = document.activeElement, after = getComputedStyle(e, '::after').content;
  return {focus: e.name || e.id || e.tagName, ring: getComputedStyle(e).outlineStyle !== 'none', after: after,
          view: shown('.view').map(function(v) { return v.dataset.view; }).join(),
          layer: shown('.view .stage.main .map').map(function(m) { return m.dataset.layer; }).join(),
          opacity: document.getElementById('opacity') && document.getElementById('opacity').value,
          open: document.querySelectorAll('details[open]').length}; })()"""


def test_keyboard():
    """The page without a mouse; what the browser saw of requests and errors."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if not program:
        print("no chromium: the page was not opened")
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, Chromium(program, os.path.join(folder, "profile")) as browser:
        page = os.path.join(folder, "page.html")

        def after(*keys):
            for key in keys:
                browser.press(key)
            return browser.value(STATE)
        run(vit, picture, "--top", "2", "--html", page)
        browser.open("file://" + page)
        for keys, state in ((("Tab",), {"focus": "view", "view": "0", "ring": True}), (("ArrowRight",), {"view": "1"}),
                            (("Tab", "ArrowRight"), {"focus": "opacity", "opacity": "66", "ring": True}),
                            (("Tab", "ArrowRight", "ArrowRight"), {"focus": "layer1", "layer": "1"}),
                            (("Tab", "Enter"), {"focus": "SUMMARY", "open": 1})):
            seen = after(*keys)
            check(state.items() <= seen.items(), "by keyboard", keys, seen)
        run(bert, "a wonderful film", "--html", page)
        browser.open("file://" + page)
        seen = after("Tab", "Tab")
        check(seen["focus"] == "SPAN" and re.match('"[0-9.e-]+"', seen["after"]), "a word's value at the focus", seen)
        asked = {address for address in browser.requests if not address.startswith("data:")}
        check(asked == {"file://" + page} and not browser.complaints, "no request, no complaint", asked, browser.complaints)


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
        # what was killed while it wrote a file leaves its unfinished copy; a run that ends leaves nothing
        killed = set(os.listdir(out))
        r = subprocess.run(command, capture_output=True, text=True, timeout=300)
        found = [line["name"] for line in lines_of(index)]
        check(r.returncode == 1 and ("missing" in r.stderr or "items failed" in r.stderr), "a bad item shows in the exit status", r.stderr)
        check(len(found) == len(set(found)) == 6 * len(names) + 1, "every item once", len(found))
        check(sum(line["status"] == "failed" for line in lines_of(index)) == 1, "one failed")
        left = [n for n in os.listdir(out) if not n.endswith((".json", ".jsonl", "batch.txt")) and n not in killed]
        check(not left, "no leftovers", left)
        first = [line for line in lines_of(index) if line["status"] == "done"][0]
        single = os.path.join(folder, "single.json")
        run(vit, first["item"], "--json", single)
        check(core(single) == core(os.path.join(out, first["name"] + ".json")), "as a run of its own")
        run("batch", vit, listing, "-O", out, "--top", "2", status=2)
        pages = os.path.join(folder, "pages")
        run("batch", vit, pictures, "-O", pages, "--png", "--html", "--top", "2")
        for name in names[:2]:
            one, page = os.path.join(folder, "one.png"), os.path.join(folder, "one.html")
            run(vit, os.path.join(pictures, name), "--top", "2", "-o", one, "--html", page)
            stem = os.path.join(pages, name[:-4])
            check(open(one, "rb").read() == open(stem + ".png", "rb").read(), "the same panel", name)
            a, b = (re.sub("<th scope=row>seconds<td>.*", "", open(p).read()) for p in (page, stem + ".html"))
            check(a == b and "Layer by layer" in a, "the same page, layers included", name)
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
        check(len(lines) <= 23 and max(map(len, lines)) <= 80, "the help fits a screen", command, len(lines))
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


tests = (test_help, test_json, test_samples, test_fixed_samples, test_companions_above, test_digests, test_words, test_terminal, test_overlay, test_page, test_keyboard, test_batch, test_dying_workers)
for test in tests:
    if not sys.argv[3:] or test.__name__[len("test_"):] in sys.argv[3:]:
        test()
close()
