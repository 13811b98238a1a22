#!/usr/bin/env python3
"""Writes io/unicode_tables.c: where the Unicode data of the Hugging Face tokenizers library differs from
utf8proc's and PCRE2's.

    make_unicode_tables.py unicode_tables.json > io/unicode_tables.c

unicode_tables.json holds the ranges as the library classifies them. What it does not hold (general categories and
word characters of the regex engines, new lower-case pairs, combining classes, grapheme clusters, scripts) is asked
of the library itself, the Python package tokenizers 0.22, and of libutf8proc. Run it again when either changes.
"""
import ctypes
import ctypes.util
import json
import struct
import sys
import unicodedata

from tokenizers import Regex, normalizers, pre_tokenizers

ALL = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
CATEGORIES = "Cn Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Co".split()
SCRIPTS = "Han Hiragana Katakana Hangul Latin Greek Cyrillic Arabic Hebrew Thai Devanagari".split()


def ranges(points):
    out = []
    for c in sorted(points):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def regex_class(pattern):
    split, found = pre_tokenizers.Split(Regex(pattern), "removed", invert=True), set()
    for start in range(0, len(ALL), 20000):
        part = ALL[start : start + 20000]
        for _, (a, b) in split.pre_tokenize_str("".join(map(chr, part))):
            found.update(part[a:b])
    return found


def darts(keys):
    """A double array, as in a precompiled charsmap, whose keys all have value 0."""
    trie, units, used = {}, {}, {0}
    for key in keys:
        node = trie
        for byte in key:
            node = node.setdefault(byte, {})
        node[None] = 0

    def place(node, at, label):
        labels = [b for b in node if b is not None] + ([0] if None in node else [])
        base = next(b for b in range(1, 1 << 20) if all(b ^ x not in used for x in labels))
        used.update(base ^ x for x in labels)
        units[at] = label | (None in node) << 8 | (at ^ base) << 10
        if None in node:
            units[base] = 1 << 31
        for byte, child in node.items():
            if byte is not None:
                place(child, base ^ byte, byte)

    place(trie, 0, 0)
    count = (max(units) + 256) // 256 * 256
    return b"".join(struct.pack("<I", units.get(i, 0x1FF)) for i in range(count))


def charsmap(keys):
    array = darts(keys)
    return normalizers.Precompiled(struct.pack("<I", len(array)) + array + b"Q\0")


def utf8proc():
    lib = ctypes.CDLL(ctypes.util.find_library("utf8proc"))
    lib.utf8proc_get_property.restype = ctypes.POINTER(ctypes.c_int16)
    return lib


def decomposition(lib, c, options):
    buffer, last = (ctypes.c_int32 * 64)(), ctypes.c_int(0)
    n = lib.utf8proc_decompose_char(c, buffer, 64, options, ctypes.byref(last))
    return "".join(map(chr, buffer[:n]))


def main(path):
    given = {k: [tuple(r) for r in v] for k, v in json.load(open(path)).items() if isinstance(v, list)}
    have = lambda name: {c for a, b in given[name] for c in range(a, b + 1)}
    lib, sets = utf8proc(), {}

    category = {}
    for name in CATEGORIES:
        for c in regex_class(r"\p{%s}" % name):
            category[c] = name
    assert {c for c in ALL if category[c][0] == "L"} == have("regex_L")
    assert {c for c in ALL if category[c][0] == "N"} == have("regex_N")

    sets["bert_removed"] = have("bert_clean_text_removed")
    sets["bert_space"] = have("bert_clean_text_to_space")
    sets["bert_ideograph"] = have("bert_chinese_chars")
    sets["bert_mark"] = {c for c in have("bert_strip_accents_removed_after_nfd")}
    sets["mark"] = have("strip_accents_removed")
    sets["punctuation"] = have("punctuation_pretokenizer")
    assert sets["punctuation"] == have("bert_pretok_punctuation_isolated")
    sets["white_space"] = have("regex_s")
    assert sets["white_space"] == have("whitespace_split") == have("bytelevel_builtin_s") | {0x20}
    digits = pre_tokenizers.Digits(True)
    sets["numeric"] = {c for c in ALL if len(digits.pre_tokenize_str("a" + chr(c))) == 2}
    sets["onig_word"] = regex_class(r"\w")
    words = pre_tokenizers.Whitespace()
    sets["rust_word"] = {c for c in ALL if [t[1] for t in words.pre_tokenize_str("a" + chr(c))][0] == (0, 2)}

    # Normal forms: what utf8proc decomposes or reorders and the library's older tables do not.
    nfd, nfkd = normalizers.NFD(), normalizers.NFKD()
    sets["not_decomposed"] = {c for c in ALL if nfd.normalize_str(chr(c)) != decomposition(lib, c, 1 << 4)}
    sets["not_compat_decomposed"] = {c for c in ALL if nfkd.normalize_str(chr(c)) != decomposition(lib, c, 1 << 4 | 1 << 2)}
    for c in sets["not_decomposed"] | sets["not_compat_decomposed"]:
        assert nfkd.normalize_str(chr(c)) == chr(c)
    marks = {c for c in ALL if lib.utf8proc_get_property(c)[1]}
    ordered = lambda c: (nfd.normalize_str(chr(c) + "\u0334") != chr(c) + "\u0334"
                         or nfd.normalize_str("\u0345" + chr(c)) != "\u0345" + chr(c))
    sets["not_ordered"] = {c for c in marks if nfd.normalize_str(chr(c)) == chr(c) and not ordered(c)}

    # Grapheme clusters: characters that join the one before or after them only in the library.
    joiner, prefix = charsmap([b"A"]), charsmap([bytes([b]) for b in range(0xC2, 0xF5)])
    after = {c for c in ALL if len(joiner.normalize_str("A" + chr(c))) == 1}
    before = {c for c in ALL if c >= 0x80 and prefix.normalize_str(chr(c) + "A") == "Q"}
    lib.utf8proc_grapheme_break.restype = ctypes.c_bool
    old_after = {c for c in ALL if not lib.utf8proc_grapheme_break(0x41, c)}
    old_before = {c for c in ALL if not lib.utf8proc_grapheme_break(c, 0x41)}
    assert old_after <= after and old_before <= before
    sets["grapheme_extend"], sets["grapheme_prepend"] = after - old_after, before - old_before

    lower, pairs = normalizers.Lowercase(), []
    for c in ALL:
        want = lower.normalize_str(chr(c))
        if want != chr(lib.utf8proc_tolower(c)):
            assert len(want) <= 2
            pairs.append((c, ord(want[0]), ord(want[1]) if len(want) == 2 else 0))

    out = sys.stdout.write
    out("/*\n * unicode_tables.c: made by scripts/make_unicode_tables.py; not to be edited. See unicode_tables.h.\n */\n")
    out('#include "io/unicode_tables.h"\n\n/* clang-format off */\n')

    def table(declaration, rows, width=8):
        out(declaration + " = {\n")
        for i in range(0, len(rows), width):
            out("    " + " ".join(rows[i : i + width]) + "\n")
        out("};\n\n")

    runs = []
    for c in range(0x110000):
        name = category.get(c, "Cn")
        if not runs or runs[-1][1] != name:
            runs.append((c, name))
    table("const tb_unicode_run tb_unicode_runs[]", ["{0x%x,%s}," % (c, n.upper()) for c, n in runs], 12)
    out("const size_t tb_unicode_run_count = sizeof tb_unicode_runs / sizeof *tb_unicode_runs;\n\n")

    # Against PCRE2 with Unicode 14, so that its own fast classes need only what is newer.
    if unicodedata.unidata_version != "14.0.0":
        raise SystemExit("needs a Python whose unicodedata is 14.0.0")
    fresh, moved = {}, set()
    for c in ALL:
        old, new = unicodedata.category(chr(c)), category[c]
        if old != new:
            if old == "Cn":
                fresh[c] = new
            else:
                moved |= {old, new}
    runs = []
    for c in sorted(fresh):
        if runs and runs[-1][1] == c - 1 and runs[-1][2] == fresh[c]:
            runs[-1][1] = c
        else:
            runs.append([c, c, fresh[c]])
    table("const tb_unicode_fresh tb_unicode_since14[]", ["{0x%x,0x%x,%s}," % (a, b, n.upper()) for a, b, n in runs], 8)
    out("const size_t tb_unicode_since14_count = sizeof tb_unicode_since14 / sizeof *tb_unicode_since14;\n")
    out("const uint32_t tb_unicode_moved14 = %s;\n\n" % (" | ".join("1u << " + m.upper() for m in sorted(moved)) or "0"))

    for name, points in sets.items():
        table("static const tb_range %s[]" % name, ["{0x%x,0x%x}," % tuple(r) for r in ranges(points)], 11)
    table("const tb_range_set tb_unicode_sets[TB_SET_COUNT]",
          ["[TB_SET_%s] = {%s, sizeof %s / sizeof *%s}," % (n.upper(), n, n, n) for n in sets], 1)

    for name in SCRIPTS:
        points = regex_class(r"\p{%s}" % name)
        table("static const tb_range script_%s[]" % name.lower(), ["{0x%x,0x%x}," % tuple(r) for r in ranges(points)], 11)
    table("const tb_script tb_unicode_scripts[]",
          ['{"%s", {script_%s, sizeof script_%s / sizeof *script_%s}},' % ((n,) + (n.lower(),) * 3) for n in SCRIPTS], 1)
    out("const size_t tb_unicode_script_count = sizeof tb_unicode_scripts / sizeof *tb_unicode_scripts;\n\n")

    table("const tb_lower tb_unicode_lower[]", ["{0x%x,0x%x,0x%x}," % p for p in pairs], 8)
    out("const size_t tb_unicode_lower_count = sizeof tb_unicode_lower / sizeof *tb_unicode_lower;\n")


if __name__ == "__main__":
    main(sys.argv[1])
