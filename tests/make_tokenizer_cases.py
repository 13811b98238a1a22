#!/usr/bin/env python3
"""Writes tests/data/tok/parts.jsonl: small random tokenizers of every part, with what the Hugging Face tokenizers
library (Python package tokenizers 0.22) makes of awkward texts.

    make_tokenizer_cases.py > tests/data/tok/parts.jsonl

A line is {"tokenizer": tokenizer.json, "cases": [{"text", "pair", "ids", …}]}. With --check TOOL [FIRST LAST] the same
comparison runs over other seeds against `TOOL tokenize`, and nothing is written.
"""
import base64
import json
import random
import string
import struct
import subprocess
import sys
import tempfile

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

POINTS = [0x20] * 4 + [
    9, 10, 13, 0, 0x85, 0xA0, 0x300, 0x301, 0x323, 0x345, 0x334, 0xE9, 0x1E9B, 0x1100, 0x1161, 0x11A8, 0xAC00, 0xAC01,
    0x2581, 0x200D, 0x200B, 0x1F468, 0x1F469, 0x1F1E9, 0x1F1EA, 0xFB01, 0x3000, 0x4E00, 0x20000, 0x600, 0x897, 0x113D1,
    0x11938, 0x1E030, 0xFF21, 0x41, 0x61, 0x27, 0x73, 0x2E, 0x31, 0x663, 0x2460, 0x130, 0x3A3, 0x180E, 0xFE0F, 0xA9,
    0x915, 0x94D, 0x937, 0x958, 0xF73, 0xF71, 0xF72, 0x1D15E, 0x212B, 3, 0xFFFD, 0xFEFF, 0xAD, 0xE000, 0x378, 0x10400,
    0x16EA0, 0x1C89, 0x24B6, 0xB2, 0x2163, 0x5F, 0x203F]
BEHAVIORS = ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]
GPT4O = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
          r"\s+(?!\S)|\s+")
REPLACED = [r"\s+", r" {2,}", r"\p{L}", r"[^\p{L}\p{N}]+", r"\w+", r"(?<=a)b|\d", r"^.", r".$", r"\p{M}+", r"[[:punct:]]",
            r"(?i:s|é)"]
SPLIT = [r"\s+", r"\p{L}+", r"\d", r"[^\s\p{L}\p{N}]+", LLAMA3, GPT4O, r"\w+|[^\w\s]+", r"x*", r"\S+", r"[一-龥぀-ゟ゠-ヿ]+",
         r"\p{Han}+", r"\p{P}|\p{S}", r"\s?[A-Za-zµÀ-Ö]+", r"\W", r"\D+", r"\b", r".", r"^", r"$", r"\p{Mn}|\p{Cf}"]


def charsmap(pairs):
    """A precompiled character map as sentencepiece writes it: a double array and NUL-terminated texts."""
    trie, units, used, texts = {}, {}, {0}, b""
    for key, text in pairs.items():
        node = trie
        for byte in key.encode():
            node = node.setdefault(byte, {})
        node[None] = len(texts)
        texts += text.encode() + b"\0"

    def place(node, at, label):
        labels = [b for b in node if b is not None] + ([0] if None in node else [])
        base = next(b for b in range(1, 1 << 20) if all(b ^ x not in used for x in labels))
        used.update(base ^ x for x in labels)
        units[at] = label | (None in node) << 8 | (at ^ base) << 10
        if None in node:
            units[base] = 1 << 31 | node[None]
        for byte, child in node.items():
            if byte is not None:
                place(child, base ^ byte, byte)

    place(trie, 0, 0)
    count = (max(units) + 256) // 256 * 256
    array = b"".join(struct.pack("<I", units.get(i, 0x1FF)) for i in range(count))
    return base64.b64encode(struct.pack("<I", len(array)) + array + texts).decode()


CHARSMAP = {"type": "Precompiled", "precompiled_charsmap": charsmap(
    {"A": "a", "\u200b": "", "\uff21": "A", "\ufb01": "fi", "\u2460": "1", "\u3000": " ", "e\u0301": "é", "\u0600": "x",
     "\u0301": "", "\xa9": "(c)", "\r\n": "\n"})}


def random_text(r):
    def point():
        x = r.random()
        if x < 0.6:
            return r.choice(POINTS)
        return r.randint(0x20, 0x7E) if x < 0.9 else r.choice([r.randint(0x80, 0xD7FF), r.randint(0xE000, 0x1FFFF)])
    return "".join(chr(point()) for _ in range(r.randint(0, 25)))


def random_normalizer(r):
    n, coin = normalizers, lambda: r.random() < 0.5
    return r.choice([
        lambda: n.NFC(), lambda: n.NFD(), lambda: n.NFKC(), lambda: n.NFKD(), lambda: n.Lowercase(), lambda: n.StripAccents(),
        lambda: n.Strip(coin(), coin()), lambda: n.Nmt(), lambda: n.ByteLevel(), lambda: CHARSMAP,
        lambda: n.BertNormalizer(coin(), coin(), r.choice([None, True, False]), coin()),
        lambda: n.Replace(r.choice([" ", "e", "aa", "\u0301", "''"]), r.choice(["", "_", "xyz", "\u2581", "é "])),
        lambda: n.Replace(Regex(r.choice(REPLACED)), r.choice(["", "_", "ab"])),
        lambda: n.Prepend(r.choice(["\u2581", "ab", " "]))])()


def random_pre_tokenizer(r):
    p, coin = pre_tokenizers, lambda: r.random() < 0.5
    return r.choice([
        lambda: p.BertPreTokenizer(), lambda: p.Whitespace(), lambda: p.WhitespaceSplit(), lambda: p.Digits(coin()),
        lambda: p.Punctuation(r.choice(BEHAVIORS)), lambda: p.CharDelimiterSplit(r.choice(["a", " ", "\u2581", "é"])),
        lambda: p.Split(r.choice([" ", "a", "ab", "\u0301"]), r.choice(BEHAVIORS), coin()),
        lambda: p.Split(Regex(r.choice(SPLIT)), r.choice(BEHAVIORS), r.random() < 0.3),
        lambda: p.ByteLevel(add_prefix_space=coin(), use_regex=coin()), lambda: p.FixedLength(r.randint(1, 4)),
        lambda: p.Metaspace(r.choice(["\u2581", "_"]), r.choice(["always", "first", "never"]), coin())])()


def random_model(r):
    kind = r.randint(0, 4)
    if kind <= 1:
        vocab = [("<unk>", 0.0), ("a", -1.0), ("e", -1.5), ("s", -1.2), ("\u2581", -2.0), ("\u2581a", -2.2), ("th", -3.0),
                 ("the", -3.1), ("é", -4.0), ("ab", -2.5), ("日", -3.0)]
        fallback = r.random() < 0.15
        if fallback:
            vocab += [("<0x%02X>" % i, -10.0) for i in range(256) if i != 0xE0]
        return models.Unigram(vocab, unk_id=0, byte_fallback=fallback)
    if kind == 2:
        letters = list(string.ascii_lowercase[:20]) + ["é", "▁", "日", " "]
        prefix, suffix = r.choice([None, None, "##"]), r.choice([None, None, "</w>"])
        vocab = set(letters) | {"<unk>"}
        if prefix:
            vocab |= {prefix + c for c in letters}
        if suffix:
            vocab |= {x + suffix for x in vocab if x != "<unk>"}
        fallback = not prefix and not suffix and r.random() < 0.3
        if fallback:
            vocab |= {"<0x%02X>" % i for i in range(256)}
        merges = []
        for _ in range(40):
            a, b = (r.choice(sorted(x for x in vocab if "<" not in x)) for _ in "ab")
            if (prefix and not b.startswith(prefix)) or (a, b) in merges:
                continue
            merges.append((a, b))
            vocab.add(a + (b[len(prefix):] if prefix else b))
        more = dict(unk_token=r.choice([None, "<unk>", "<unk>"]), continuing_subword_prefix=prefix, end_of_word_suffix=suffix)
        return models.BPE({t: i for i, t in enumerate(sorted(vocab))}, merges, fuse_unk=r.random() < 0.5,
                          byte_fallback=fallback, ignore_merges=r.random() < 0.3,
                          **{k: v for k, v in more.items() if v is not None})
    words = ["[UNK]", "a", "b", "the", "##e", "##s", "é", "##\u0301", "日", "##a", ".", "1", "th", "x"]
    vocab = {t: i for i, t in enumerate(words)}
    if kind == 3:
        return models.WordLevel(vocab, unk_token="[UNK]")
    return models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=r.choice([100, 5]))


def random_post_processor(r):
    p, coin = processors, lambda: r.random() < 0.6
    template = p.TemplateProcessing(single="a:0 $A:3 b:1", pair="a:0 $A:1 b:2 $B:5 a:1 $A:7", special_tokens=[("a", 1), ("b", 2)])
    return r.choice([
        lambda: None, lambda: p.ByteLevel(trim_offsets=coin(), add_prefix_space=coin()), lambda: template,
        lambda: p.RobertaProcessing(("a", 1), ("b", 2), trim_offsets=coin(), add_prefix_space=coin()),
        lambda: p.BertProcessing(("a", 1), ("b", 2)), lambda: p.Sequence([p.ByteLevel(trim_offsets=coin()), template])])()


def random_tokenizer(r):
    state = lambda part: part if isinstance(part, dict) else json.loads(part.__getstate__())
    raw = json.loads(Tokenizer(random_model(r)).to_str())
    many = [state(random_normalizer(r)) for _ in range(r.choice([0, 0, 1, 1, 2, 3]))]
    if many:
        raw["normalizer"] = many[0] if len(many) == 1 else {"type": "Sequence", "normalizers": many}
    many = [state(random_pre_tokenizer(r)) for _ in range(r.choice([0, 1, 1, 2, 3]))]
    if many:
        raw["pre_tokenizer"] = many[0] if len(many) == 1 else {"type": "Sequence", "pretokenizers": many}
    tokenizer = Tokenizer.from_str(json.dumps(raw))
    post = random_post_processor(r)
    if post:
        tokenizer.post_processor = post
    tokenizer.add_tokens([
        AddedToken(r.choice(["[SEP]", "the", "é", "  ", "A", "<s>", "a b", "日", "ÉA", "\u0301x", ".", "b", "[MASK]"]),
                   single_word=r.random() < 0.3, lstrip=r.random() < 0.3, rstrip=r.random() < 0.3,
                   normalized=r.random() < 0.5, special=r.random() < 0.4) for _ in range(r.randint(0, 4))])
    # An added token of which the normaliser leaves nothing is refused, not followed.
    for token in json.loads(tokenizer.to_str())["added_tokens"]:
        if token["normalized"] and tokenizer.normalizer and not tokenizer.normalizer.normalize_str(token["content"]):
            return None
    return Tokenizer.from_str(tokenizer.to_str())


def make(seed, texts):
    r = random.Random(seed)
    tokenizer, cases = random_tokenizer(r), []
    if tokenizer is None:
        return None
    for _ in range(texts):
        text, pair = random_text(r), random_text(r) if r.random() < 0.3 else None
        try:
            e = tokenizer.encode(text, pair or None)
        except BaseException:  # an unknown token that the vocabulary lacks; a panic of the library
            continue
        cases.append({"text": text, "pair": pair, "ids": e.ids, "type_ids": e.type_ids, "attention_mask": e.attention_mask,
                      "tokens": e.tokens, "offsets": e.offsets, "word_ids": e.word_ids,
                      "special_tokens_mask": e.special_tokens_mask})
    return {"tokenizer": json.loads(tokenizer.to_str()), "cases": cases}


def check(tool, first, last):
    bad = 0
    for seed in range(first, last):
        made = make(seed, 30)
        if made is None:
            continue
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(made["tokenizer"], file)
            file.flush()
            lines = "".join(json.dumps({"text": c["text"], "pair": c["pair"]}) + "\n" for c in made["cases"])
            run = subprocess.run([tool, "tokenize", file.name, "--jsonl"], input=lines, capture_output=True, text=True)
        got = [json.loads(line) for line in run.stdout.split("\n") if line]
        same = len(got) == len(made["cases"]) and all(
            json.loads(json.dumps(c[k])) == g[k] for c, g in zip(made["cases"], got) for k in c if k not in ("text", "pair"))
        if not same:
            bad += 1
            print("seed", seed, "differs", run.stderr.strip())
    print(last - first, "tokenizers,", bad, "differ")
    return bad


if __name__ == "__main__":
    if sys.argv[1:2] == ["--check"]:
        sys.exit(check(sys.argv[2], *(int(x) for x in sys.argv[3:] or (1000, 2000))) != 0)
    kept = 0
    for number in range(1000):
        made = make(number, 4)
        line = made and json.dumps(made, ensure_ascii=False, separators=(",", ":")).replace("\x85", "\\u0085")
        if line and len(line) < 4500 and made["cases"]:
            sys.stdout.write(line + "\n")
            kept += 1
        if kept == 90:
            break
