#!/usr/bin/env python3
"""Scores of pictures and texts, of two texts, and other kinds of output: in one graph or in two, with what
the folder says of them.

    cli_pairs.py TOOL SOURCE_FOLDER [TEST...]
"""
import json
import math
import os
import shutil
import struct
import sys
import tempfile

from checks import check, close
from cli_tool import bert, clip, explain, garments, make_folder, near, picture, run, schema, vit
from onnx_cut import cut, node, producers, tensor
from schema import errors


def two_files(folder):
    """The picture's and the text's half of the example as graphs of their own."""
    whole = open(os.path.join(clip, "model.onnx"), "rb").read()
    return make_folder(folder, "parts", clip, {"vision_model.onnx": cut(whole, "image_embeds", 2),
                                               "text_model.onnx": cut(whole, "text_embeds", 2)})


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
    long = "a boot " * 30 + "and a bag"
    notes = explain(clip, garments, "--text", long, "--text", "a bag", "--truncate")["notes"]
    check(len(notes) == 1 and "text 1 is cut to" in notes[0] and "no value" in notes[0], "what is cut is said", notes)
    for wrong in (["--contrast", "x"], ["--choose", "1"], ["--table"]):
        run(vit, picture, *wrong, status=2)
    run(clip, garments, *texts, "--choose", "3", status=2)
    run(clip, garments, *texts, "--signed", "--method", "rollout", status=2)


def test_separate_encoders():
    whole = open(os.path.join(clip, "model.onnx"), "rb").read()
    texts = ["a white boot and a blue bag", "a green boot and a blue bag"]
    with tempfile.TemporaryDirectory() as folder:
        parts = two_files(folder)
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
        factor = ["--scale", repr(scale)]
        a, b = explain(clip, garments, *texts, "--table"), explain(parts, garments, *texts, "--table", *factor)
        for x, y in zip(a["table"], b["table"]):
            check(x["without"] == y["without"] and abs(x["share"] - y["share"]) < 1e-3, "the table", x["word"])
            check(near(*([v for row in z["values"] for v in row] for z in (y, x))), "and its maps", x["word"])
        check(len(a["table"]) == len(b["table"]) == 7, "a row for each word")
        trust = b["explanations"][0]["trust"]
        check("relevance is conserved" in trust, "the halves of both encoders make 1", trust)
        for which in (["--top", "2"], ["--class", "white", "--class", "green"]):
            a, b = explain(clip, garments, *texts, *which), explain(parts, garments, *texts, *which, *factor)
            check([e["target"]["label"] for e in b["explanations"]] == [e["target"]["label"] for e in a["explanations"]],
                  "several texts", which)
        check("--choose" in run(parts, garments, *texts, "--target", "0,1", status=2).stderr, "no output to index")
        check("text encoder" in run(clip, garments, *texts, "--scale", "2", status=2).stderr, "no scale of ours")
        run(parts, garments, *texts, "--scale", "0", status=2)
        # both graphs' arrays; what they call alike gets a number
        twins = make_folder(folder, "twins", clip, {
            "vision_model.onnx": cut(whole, "embeds", 2, [node("Identity", ["image_embeds"], "embeds")]),
            "text_model.onnx": cut(whole, "embeds", 2, [node("Identity", ["text_embeds"], "embeds")])})
        for where, names in ((parts, ("image_embeds", "text_embeds")), (twins, ("embeds", "embeds.2"))):
            out = os.path.join(folder, "arrays." + os.path.basename(where))
            run(where, garments, *texts, "--npy", out)
            found = set(os.listdir(out))
            wanted = {f"output.{n}.npy" for n in names} | {f"{k}.{i}.npy" for k in ("tokens", "readout", "block.0")
                                                           for i in ("pixel_values", "input_ids")}
            check(wanted <= found and "map.pixel_values.npy" in found, "arrays of both graphs", wanted - found)
        # an output for each encoder by name, and the only vector where no name says more
        bare = make_folder(folder, "bare", clip, {
            "vision_model.onnx": cut(whole, "a", 2, [node("Identity", ["image_embeds"], "a")]),
            "text_model.onnx": cut(whole, "b", 2, [node("Identity", ["text_embeds"], "b")])})
        for more in ([], ["--output", "a"], ["--output", "b"]):
            out = explain(bare, garments, *texts, *more)
            check(near([s["logit"] for s in out["scores"][0]], [100 * s["logit"] for s in unscaled["scores"][0]]),
                  "the embeddings are found", more)
        check("'c'" in run(bare, garments, *texts, "--output", "c", status=2).stderr, "an output that neither has")


def value_of(model, *arguments):
    return explain(model, *arguments)["explanations"][0]["target"]["logit"]


def checks_of(view):
    """Of each tower: its input, the relevance in the order of its parts, and the check."""
    found = {}
    for t in view["towers"]:
        check("after" in t["check"], "not checked", t["check"])
        found.setdefault(t["input"], []).append(t["check"])
    return found


def order_of(values, many):
    return sorted(range(len(values)), key=lambda i: -values[i])[:many]


def without_word(text, index, word=None):
    parts = text.split()
    return " ".join(parts[:index] + ([word] if word else []) + parts[index + 1:])


def test_checks():
    """What --check removes of pairs, differences and similarities, by scores of inputs without it."""
    whole = open(os.path.join(clip, "model.onnx"), "rb").read()
    texts = ["a white boot and a blue bag", "a green boot and a blue bag"]
    both = ["--text", texts[0], "--contrast", texts[1], "--choose", "1"]
    with tempfile.TemporaryDirectory() as folder:
        parts = two_files(folder)
        for model, more, scale in ((clip, [], 1), (parts, ["--scale", "1"], None)):
            for given in (["--text", texts[0], "--text", texts[1], "--choose", "1"], both):
                view = explain(model, garments, *given, *more, "--check")["explanations"][0]
                said = checks_of(view)
                check(set(said) == {"pixel_values", "input_ids"}, "both sides", set(said))
                for name in said:
                    one = said[name][0]
                    check(abs(one["before"] - view["target"]["logit"]) < 1e-6, "what is explained is checked", one)
                    check(one["after"] < one["random_mean"], "the demo model depends on what is relevant", one)
                words = [w["value"] for w in view["text"]["words"]]
                gone, = order_of(words, said["input_ids"][0]["removed"])
                changed = [without_word(texts[0], gone) if t == texts[0] else t for t in given]
                want = value_of(model, garments, *changed, *more)
                got = said["input_ids"][0]["after"]
                check(abs(got - want) < 1e-4 * max(1, abs(want)), "without the word", model, given, got, want)
        a, b = (explain(m, garments, *both, "--check", *more)["explanations"][0]
                for m, more in ((clip, []), (parts, ["--scale", "1"])))
        ratio = a["target"]["logit"] / b["target"]["logit"]
        for name in ("pixel_values", "input_ids"):
            x, y = checks_of(a)[name][0], checks_of(b)[name][0]
            for key in ("before", "after", "random_mean", "random_least"):
                check(abs(x[key] - ratio * y[key]) < 1e-4 * abs(x["before"]), "two encoders say what the graph says", name, key, x, y)

        # two texts: the cosine again, without the most relevant word of the one and of the other
        data = open(os.path.join(bert, "model.onnx"), "rb").read()
        hidden = [name for name, (kind, _) in producers(data).items() if kind == "LayerNormalization"][-1]
        plain = make_folder(folder, "plain", bert, {"model.onnx": cut(data, hidden, 3)}, id2label=None)
        pair = ["a wonderful film", "a dull and boring mess"]
        view = explain(plain, *pair, "--check")["explanations"][0]
        for k, (one, words) in enumerate(zip(checks_of(view)["input_ids"], (view["text"], view["other_text"]))):
            gone, = order_of([w["value"] for w in words["words"]], 1)
            changed = [without_word(t, gone, "[MASK]") if i == k else t for i, t in enumerate(pair)]
            want = value_of(plain, *changed)
            check(abs(one["after"] - want) < 1e-5, "the cosine without a word", k, one["after"], want)
        check("check: without" in run(plain, *pair, "--check").stdout, "and says so")

        # a token's own scores, where tokens are left out in front of it
        hidden = [n for n, (kind, _) in producers(cut(whole, "text_embeds", 2)).items() if kind == "LayerNormalization"][-1]
        states = make_folder(folder, "states", clip, {"model.onnx": cut(whole, hidden, 3)}, id2label=None)
        words = texts[0].split()
        for token in (3, len(words) + 1):
            view = explain(states, texts[0], "--target", f"{token},5", "--check")["explanations"][0]
            one = checks_of(view)["input_ids"][0]
            check(one["parts"] == len(words) - (token <= len(words)), "the target's own token stays", one)
            values = [w["value"] if i + 1 != token else -1 for i, w in enumerate(view["text"]["words"])]
            gone, = order_of(values, one["removed"])
            want = value_of(states, without_word(texts[0], gone), "--target", f"{token - (gone + 1 < token)},5")
            check(abs(one["after"] - want) < 1e-4, "the token has moved", token, gone, one["after"], want)

        # a graph that says it takes several samples, and has one output for all of them
        data = open(os.path.join(vit, "model.onnx"), "rb").read()
        joined = make_folder(folder, "joined", vit, {
            "model.onnx": cut(data, "one", 2, [node("ReduceMax", ["logits"], "one", axes=[0], keepdims=1)])})
        a, b = (explain(m, picture, "--check")["explanations"][0]["towers"][0]["check"] for m in (vit, joined))
        for key in ("before", "after", "random_mean", "random_least"):
            check(abs(a[key] - b[key]) < 1e-4, "one by one where several cannot be told apart", key, a, b)


def test_compare():
    """Every method of scores that two graphs make, of differences and of similarities."""
    texts = ["--text", "a white boot and a blue bag", "--text", "a green boot"]
    with tempfile.TemporaryDirectory() as folder:
        parts = two_files(folder)
        data = open(os.path.join(bert, "model.onnx"), "rb").read()
        hidden = [name for name, (kind, _) in producers(data).items() if kind == "LayerNormalization"][-1]
        plain = make_folder(folder, "plain", bert, {"model.onnx": cut(data, hidden, 3)}, id2label=None)
        gap = ["--text", texts[1], "--contrast", texts[3]]
        for arguments in ([parts, garments, *texts], [parts, garments, *gap], [clip, garments, *gap],
                          [plain, "a wonderful film", "a dull mess"]):
            files = [os.path.join(folder, n) for n in ("c.json", "c.html", "c.png")]
            more = ["--json", files[0], "--html", files[1]] + (["-o", files[2]] if garments in arguments else [])
            said = run("compare", *arguments, "--check", *more).stdout
            found = json.load(open(files[0]))
            wrong = errors(found, schema["$defs"]["comparison"], schema)
            check(not wrong, "compare's JSON", arguments, wrong[:3])
            check(len(found["methods"]) == 12 and "refused" not in said, "every method", said)
            check(said.count("check: the score is") == 2 and said.count("\nrandom ") == 4, "both sides are checked", said)
            for m in found["methods"][:: 3]:
                alone = explain(*arguments, "--method", m["method"])["explanations"][0]
                for x, y in zip(m["towers"], alone["towers"]):
                    check(x["relevance"] == y["relevance"], "as the method alone", m["method"], arguments)
        run("compare", clip, garments, *texts, "--class", "0", "--class", "1", status=2)
        run("compare", bert, "a good film", "a bad film", "--class", "0", status=2)
        run("compare", clip, garments, *texts, "--choose", "3", status=2)


def test_eval():
    """Classes that are texts, by one graph and by two; models without a score for each class are refused."""
    labels = ["--text", "a white boot and a blue bag", "--text", "a red coat and a green dress"]
    with tempfile.TemporaryDirectory() as folder:
        parts = two_files(folder)
        scores = [explain(*model, garments, *labels)["scores"][0][0]["logit"] for model in ([clip], [parts, "--scale", "1"])]
        scale = repr(scores[0] / scores[1])
        data = os.path.join(folder, "data")
        os.mkdir(data)
        shutil.copy(garments, os.path.join(data, "a.png"))
        truth = [{"picture": "a.png", "classes": [0, 1], "masks": {"0": "a.png", "1": "a.png"}}]
        json.dump(truth, open(os.path.join(data, "truth.json"), "w"))
        for kind in ("perturbation", "segmentation"):
            more = ["-m", "tiba", "-m", "rollout", "-m", "generic", "--draws", "50", "--csv", "-"]
            one, two = (run("eval", kind, *model, data, *labels, *more).stdout for model in ([clip], ["--scale", scale, parts]))
            rows = [[line.rsplit(",", 1) for line in text.splitlines()[1:]] for text in (one, two)]
            check(len(rows[0]) > 20 and [r[0] for r in rows[0]] == [r[0] for r in rows[1]], "the same items", kind)
            off = [(a, b) for a, b in zip(*rows) if abs(float(a[1]) - float(b[1])) > 0.01]
            check(not off, "two encoders measure what the graph measures", kind, off[:3])
        wrong = run("eval", "perturbation", parts, data, "--draws", "50", status=2)
        check("--text" in wrong.stderr, "two encoders want classes", wrong.stderr)
        run("eval", "perturbation", vit, data, *labels, "--draws", "50", status=2)
        run("eval", "perturbation", clip, data, *labels, "--scale", "2", status=2)
        texts = os.path.join(folder, "r.json")
        json.dump([{"text": "A warm film.", "label": 1, "evidence": [[2, 6]]}], open(texts, "w"))
        run("eval", "rationale", bert, texts, *labels, "--draws", "50", status=2)
        data = open(os.path.join(bert, "model.onnx"), "rb").read()
        hidden = [name for name, (kind, _) in producers(data).items() if kind == "LayerNormalization"][-1]
        numbers = lambda n: b"".join(struct.pack("<f", ((i * 2654435761) % 1000) / 500 - 1) for i in range(128 * n))
        tags = cut(data, "tags", 3, [node("MatMul", [hidden, "w"], "tags")], [tensor("w", 1, [128, 3], numbers(3))])
        places = cut(data, "start", 2, [node("MatMul", [hidden, "w"], "x"), node("Squeeze", ["x", "two"], "start")],
                     [tensor("w", 1, [128, 1], numbers(1)), tensor("two", 7, [1], struct.pack("<q", 2))])
        value = cut(data, "score", 2, [node("Gather", ["logits", "one"], "score", axis=1)],
                    [tensor("one", 7, [1], struct.pack("<q", 1))])
        for name, model, names, say in (("tagger", tags, {"0": "O", "1": "PER", "2": "LOC"}, "answers for every token"),
                                        ("answer", places, None, "it answers questions"),
                                        ("plain", cut(data, hidden, 3), None, "embedding or the like"),
                                        ("value", value, {"0": "stars"}, "gives one number")):
            where = make_folder(folder, name, bert, {"model.onnx": model}, id2label=names)
            for kind in ("perturbation", "rationale"):
                refused = run("eval", kind, where, texts, "--draws", "50", status=1)
                check(say in refused.stderr and refused.stderr.count("\n") == 1, "refused by its reason", name, refused.stderr)


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
        check(len(out["explanations"][0]["towers"]) == 2, "and a tower each")
        mean = [node("ReduceMean", [hidden], "sentence_embedding", axes=[1], keepdims=0)]
        both = make_folder(folder, "both", bert, id2label=None, models={
            "model.onnx": cut(data, hidden, 3, mean, more=[("sentence_embedding", 2)])})
        pooled = explain(both, text, "a great movie!")
        check(pooled["kind"] == "similarity" and not pooled["notes"], "the graph's own pooling is taken", pooled["notes"])
        check(pooled["explanations"][0]["target"]["output"] == "sentence_embedding", "by its name")
        again = explain(both, text, "a great movie!", "--output", "sentence_embedding")
        check(again["explanations"] == pooled["explanations"], "as if it were asked for")
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


tests = (test_pairs, test_separate_encoders, test_checks, test_compare, test_eval, test_outputs, test_pooling)
for test in tests:
    if not sys.argv[3:] or test.__name__[len("test_"):] in sys.argv[3:]:
        test()
close()
