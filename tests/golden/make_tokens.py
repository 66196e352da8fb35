#!/usr/bin/env python3
"""Writes tests/golden/tokens.jsonl and tests/fixtures/uncased, tests/fixtures/cased: what transformers makes of texts.

    python3 tests/golden/make_tokens.py [MODEL_DIR]        (default models/all-MiniLM-L6-v2; needs transformers 5)

First line {"setups": {name: {"vocab": folder under tests/fixtures, "config": tokenizer_config.json, "fast":
tokenizer.json or null}}}; setup "minilm" is the model folder itself.  Then one text a line: "t" text, or "x" its bytes
in hex where they are not UTF-8 (the ids are those of the text with U+FFFD as Rust's lossy decoding puts it); "m" greatest
length; "plain" true: special tokens written in the text are plain; "bare" true: without [CLS] and [SEP]; "i" ids by setup.
Seeded: the same file each time.
"""

import json
import os
import random
import shutil
import sys
import tempfile
import unicodedata

from transformers import AutoTokenizer
from transformers.utils import logging

HERE = os.path.dirname(os.path.abspath(__file__))
FIXTURES = os.path.join(os.path.dirname(HERE), "fixtures")
MODEL = sys.argv[1] if len(sys.argv) > 1 else "models/all-MiniLM-L6-v2"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
rnd = random.Random(20240611)
logging.set_verbosity_error()

# ---- texts ----------------------------------------------------------------------------------------------------------
TITLES = """WHITE HANGING HEART T-LIGHT HOLDER|RED WOOLLY HOTTIE WHITE HEART.|SET 7 BABUSHKA NESTING BOXES|JAM MAKING SET
WITH JARS|Samsung Galaxy S23 Ultra 256GB (Unlocked)|Kids' waterproof jacket, size 8–10|I bought 60 CAKE CASES VINTAGE|
100% cotton T-shirt @ £9.99|iPhone™ 15 Pro — 6.1″ OLED|USB-C→HDMI adapter 4K@60Hz|don't stop; it's O'Reilly's "best"|
e.g. C++/C# & F#: $5.00 <b>bold</b>|naïve café crème brûlée|x_y-z~w^v|foo.bar@example.com https://a.b/c?d=e&f=g#h""".replace(
    "\n", " "
).split(
    "|"
)
WORLD = """我购买了商品 红色陶瓷茶杯|手机壳 iPhone15 透明防摔|連衣裙２０２４新款Ｌ碼|東京スカイツリーの限定Ｔシャツ|カタカナ ｶﾀｶﾅ がぎぐ ぱぴぷ|한국어 상품 이름 각각|
빨간 머그컵 세트|ภาษาไทย น้ำพริก เก้าอี้|العربية: كوب أَحْمَر مُزَخْرَف؟|עברית שָׁלוֹם כוס אדומה|हिन्दी लाल मग क़ीमत|বাংলা ক্ষ কোঁকড়া|தமிழ் கொள்ளை|తెలుగు క్షణం|മലയാളം ക്ഷമ|
ગુજરાતી ਪੰਜਾਬੀ ଓଡ଼ିଆ|ಕನ್ನಡ ಕೊಡು|සිංහල ක්‍ෂ|ລາວ ນ້ຳ|မြန်မာ ကို|ខ្មែរ ក្រុម|བོད་ཡིག གྷ|ქართული ᲥᲐᲠᲗᲣᲚᲘ|Հայերեն և ՈՒ|Русский ёЁйЙ Щ|Українська їЇ ґ|Ελληνικά ΐ ΰ ᾳ ΣΊΣΥΦΟΣ ς|
Türkçe İstanbul ISPARTA ığdır|Straße STRASSE ẞ ß|ſtrong ſt ﬁ ﬂ ﬃ ﬆ|Ǆ ǅ ǆ Ǳ ǲ|Việt Nam Đà Nẵng ượng|Íslenska Þór ðÆ|Čeština ŘÍŽ ů|Polski ŁÓDŹ żółw|Română ȘȚ șț ŞŢ|Māori āēīōū|Lietuvių ė̃ į̇|
Hawaiʻi ʻokina|አማርኛ ሰላም፡ ቃል|ᏣᎳᎩ ꭰꭱ|ᓀᐦᐃᔭᐍᐏᐣ|ᠮᠣᠩᠭᠣᠯ|ꦗꦮ ꦲꦏ꧀|ᬩᬮᬶ|ᜊᜌ᜔ᜊᜌᜒ|𐐀𐐁𐐨 Deseret|𝕋𝕖𝕩𝕥 𝓯𝓪𝓷𝓬𝔂 ℌℍ|ＦＵＬＬ　ｗｉｄｔｈ！？|①②Ⅳⅳ㎏㍿ ½ ² ⁿ|𠀀𪛖𫜴𫠠𬻿 㐀䶵 豈 舘 丽|
Å Å Å Ω Ω K K|é é|Ǘ ǘ ṩ ṩ ṩ|が が|각 각|ﷺ ﷲ ﻻ|→ ↔ ∀∃∑ √2 ≠ ≤|♥★☂☃ ✓ ✗|😀👍🏽👨‍👩‍👧‍👦🇩🇪 ❤️ 1️⃣|\U0001fae8\U0001fae0 \U0001f9d1\u200d\U0001f680|—–‒―‐‑ … · • ‧|“a” ‘b’ „c“ «d» ‹e› 「f」|
¿qué? ¡sí! §5 ¶ † ‡|$ € £ ¥ ₹ ₿ ¢|^ ` ´ ¨ ~ ¯ ¸|a‿b⁀c _d_ ＿e|؟ ، ؛ ۔ । ॥ ၊ ။ ፡ ።""".replace(
    "\n", ""
).split(
    "|"
)
HANGING = [
    "\u0000",
    "a\u0000b",
    "a\ufffdb",
    "\ufeffbom",
    "a\u200bb",
    "a\u200cb\u200dc",
    "a\u2060b",
    "soft\u00adhyphen",
    "a\tb\nc\rd",
    "a\x0bb\x0cc\x85d",
    "a\u00a0b\u3000c\u2028d\u2029e\u1680f\u202fg\u205fh",
    "a\u180eb",
    "\x7f\x1b[31mred\x1b[0m",
    "a\ue000b\U000f0000c\U0010fffd",
    "\U000e0001\U000e0061tag",
    "\u202eabc\u202c",
    "a\u0300\u0301\u0302b",
    "\u0301start",
    "a\u0315\u0300\u05ae\u0062",
    "a\u0344b",
    "a\u034f\u0301b",
    "\u1100\u1161\u11a8 \uac00\u11a8 \uac01",
    "x\u302e\u302fy",
    "\U0001d165\U0001d16e\U0001d158\U0001d165",
    "\U0001d15e\U0001d160",
    "a\u0f71\u0f72\u0f74b",
    "\u1b35 \u1b05\u1b35",
    "q\u0307\u0323 q\u0323\u0307",
    "\u0340\u0341\u0343\u0374\u037e\u0387",
    "\u1fef\u1ffd\u2000\u2001\u2126\u212a\u212b\u2329\u232a",
    "\u0e33\u0eb3 \u0e19\u0e49\u0e33",
    "\u0149\u01f0\u0390\u03b0\u0587\u1e96\u1e97\u1e98\u1e99\u1e9a",
    "I\u0307 \u0130 \u0131 i\u0307",
    "\u03a3 \u03a3\u0391\u03a3 \u03c2",
    "\u13a0\u13f0\uab70 \u10a0\u10d0\u1c90",
    "\u2c2f\u2c5f\ua7c0\ua7c1\ua7d0\U00010570\U00016e40",
    "\u0600\u06dd\u08e2\U000110bd\U000110cd",
    "\u061c\u200e\u200f",
    "\u2e52\u2e5d\u2e3a\u2e42\u2e43",
    "\u0300" * 120 + "z",
    "\u302e" * 260 + "z",
    "a" + "\u0301" * 300,
    "x\u302e\U0001d165" * 20,
    "\u302f\U0001d16d" * 140,
    "",
    " ",
    "   \t\n ",
    "\u3000",
    "\u0301",
    "\u200b",
    "##ing",
    "## ing",
    "a##ing",
    "#",
    "##",
    "play##ing",
    "'s 's",
    "un##aff##able",
    "[unused1]",
    "\ud7a3\ud7ff\uf8ff\ufdd0\uffff\U0001ffff\U0010ffff",
]
LONG = [
    w * 1
    for n in (98, 99, 100, 101, 102, 127, 128, 255, 256, 257, 300)
    for w in (
        "a" * n,
        "é" * n,
        "ab" * (n // 2),
        "中" * n,
        "!" * n,
        "가" * n,
        "x" * (n - 1) + "İ",
        "\u0301" * n + "a" * n,
        "が" * n,
    )
]
GLUED = [
    f.replace("{}", s)
    for s in SPECIAL
    + [
        "[sep]",
        "[Mask]",
        "[ SEP ]",
        "[SEP",
        "SEP]",
        "[[SEP]]",
        "[SEP][MASK]",
        "[[CLS]",
        "[SE\u0000P]",
        "[S\u0301EP]",
        "［SEP］",
    ]
    for f in (
        "{}",
        "a {} b",
        "a{}b",
        "{}a",
        "{} {}",
        "##{}##",
        "\u0301{}\u0301",
        "中{}文",
        "a\u302e{}\u302eb",
        "x\t{}\n",
    )
]
MANY = [
    "word " * 600,
    "a b c d e f g h " * 40,
    "unaffable " * 200,
    "naïve " * 130,
    "中" * 700,
    "!?" * 300,
    "antidisestablishmentarianism " * 60,
]
SCRIPTS = [
    (0x20, 0x7E),
    (0xA0, 0x24F),
    (0x250, 0x2FF),
    (0x300, 0x36F),
    (0x370, 0x3FF),
    (0x400, 0x52F),
    (0x531, 0x58F),
    (0x591, 0x5F4),
    (0x600, 0x6FF),
    (0x700, 0x8FF),
    (0x900, 0x97F),
    (0x980, 0x9FE),
    (0xA01, 0xDFF),
    (0xE01, 0xEFF),
    (0xF00, 0xFDA),
    (0x1000, 0x109F),
    (0x10A0, 0x10FF),
    (0x1100, 0x11FF),
    (0x1200, 0x139F),
    (0x13A0, 0x167F),
    (0x1680, 0x18AF),
    (0x18B0, 0x1AAF),
    (0x1AB0, 0x1CFF),
    (0x1D00, 0x1DFF),
    (0x1E00, 0x1EFF),
    (0x1F00, 0x1FFF),
    (0x2000, 0x206F),
    (0x2070, 0x218F),
    (0x2190, 0x23FF),
    (0x2400, 0x27BF),
    (0x2C00, 0x2DFF),
    (0x2E00, 0x2E7F),
    (0x3000, 0x30FF),
    (0x3100, 0x33FF),
    (0x3400, 0x4DFF),
    (0x4E00, 0x9FFF),
    (0xA000, 0xABFF),
    (0xAC00, 0xD7A3),
    (0xF900, 0xFAFF),
    (0xFB00, 0xFDFF),
    (0xFE00, 0xFEFF),
    (0xFF00, 0xFFFF),
    (0x10000, 0x10FFF),
    (0x11000, 0x11FFF),
    (0x16E00, 0x16FFF),
    (0x1D000, 0x1D7FF),
    (0x1E000, 0x1EFFF),
    (0x1F000, 0x1FAFF),
    (0x20000, 0x2A6DF),
    (0x2A6E0, 0x2FA1F),
    (0xE0000, 0xE01EF),
]
BROKEN = [
    b"\xff",
    b"a\x80b",
    b"\xc3",
    b"\xc3(",
    b"\xe2\x82",
    b"\xe2\x82(",
    b"\xf0\x9f\x98",
    b"\xf0\x9f\x98a",
    b"\xed\xa0\x80x",
    b"\xed\xbf\xbf",
    b"\xc0\xaf",
    b"\xe0\x80\xaf",
    b"\xf0\x80\x80\xaf",
    b"\xf4\x90\x80\x80",
    b"\xf5\x80",
    b"\xfe\xff",
    b"caf\xe9 noir",
    b"[SEP\xff]",
    b"[SEP]\xc3[MASK]",
    b"a\xc3\xa9\xc3",
    b"\xe4\xb8\xad\xe4\xb8",
    b"ok \xf0\x90\x28\xbc ok",
    b"\xf1\x80\x80\xe1\x80\xc2a",
    b"\x80" * 120,
]


def soup(ranges, n):
    out = []
    while len(out) < n:
        c = rnd.randint(*rnd.choice(ranges))
        if not 0xD800 <= c < 0xE000:
            out.append(chr(c))
        if rnd.random() < 0.12:
            out.append(rnd.choice(" \u00a0.-!\u0301\u0323\u200d"))
    return "".join(out)


def words_of(vocab, n):
    text = ""
    for _ in range(n):
        w = rnd.choice(vocab)
        text += (
            w[2:]
            if w.startswith("##")
            else rnd.choice((" ", " ", "", "-")) + rnd.choice((w, w.upper(), w.capitalize()))
        )
    return text.strip()


def pool():
    """Code points that the fixture vocabularies know singly, so that ids show what became of each."""
    marks = [
        c for c in range(0x110000) if not 0xD800 <= c < 0xE000 and unicodedata.combining(chr(c)) and rnd.random() < 0.35
    ]
    some = [rnd.randint(a, b) for a, b in SCRIPTS for _ in range(14)]
    jamo = (
        list(range(0x1100, 0x1113))
        + list(range(0x1161, 0x1176))
        + list(range(0x11A8, 0x11C3))
        + [0x302E, 0x302F, 0x1D165, 0x1D16D, 0xFFFD, 0x307]
    )
    keep = [chr(c) for c in dict.fromkeys(marks + some + jamo) if not 0xD800 <= c < 0xE000]
    return [c for c in keep if not c.isspace()]


# ---- vocabularies and setups ----------------------------------------------------------------------------------------
def write_vocabularies(chars):
    with open(os.path.join(MODEL, "vocab.txt"), encoding="utf-8") as f:
        source = [line.rstrip("\n") for line in f]
    single = [w for w in source if len(w) == 1 or (len(w) == 3 and w.startswith("##"))]
    plain = ["hello"] + [w for w in source[1997:] if w.isascii() and w.isalnum()][:1200]
    tails = [w for w in source if w.startswith("##") and w.isascii() and 3 < len(w) <= 5][:300]
    parts = sorted(
        {
            p
            for c in chars
            for form in (c, c.lower())
            for p in unicodedata.normalize("NFD", form) + form
            if not p.isspace()
        }
    )
    shared = single + parts + ["##" + p for p in parts] + tails
    capital = (
        [w.capitalize() for w in plain[:500]]
        + [w.upper() for w in plain[500:700]]
        + list("ÀÉÎÕÜßÇŁĐ")
        + ["##" + c for c in "àéîõüßçłđABCDEFGHIJKLMNOPQRSTUVWXYZ"]
    )
    for name, words in (("uncased", plain), ("cased", plain[:600] + capital)):
        folder = os.path.join(FIXTURES, name)
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "vocab.txt"), "w", encoding="utf-8") as f:
            f.writelines(w + "\n" for w in dict.fromkeys(SPECIAL + words + shared))
        with open(os.path.join(folder, "tokenizer_config.json"), "w") as f:
            json.dump(
                {"tokenizer_class": "BertTokenizer", "do_lower_case": name == "uncased", "model_max_length": 512}, f
            )
            f.write("\n")


def fast_file(**normalizer):
    rules = dict(type="BertNormalizer", clean_text=False, handle_chinese_chars=True, strip_accents=None, lowercase=True)
    token = lambda i: dict(
        id=i, content=SPECIAL[i], single_word=False, lstrip=False, rstrip=False, normalized=False, special=True
    )
    special = lambda t: {"SpecialToken": {"id": t, "type_id": 0}}
    return dict(
        version="1.0",
        truncation=None,
        padding=None,
        added_tokens=[token(i) for i in range(5)],
        normalizer={**rules, **normalizer},
        pre_tokenizer=dict(type="BertPreTokenizer"),
        decoder=None,
        post_processor=dict(
            type="TemplateProcessing",
            single=[special("[CLS]"), {"Sequence": {"id": "A", "type_id": 0}}, special("[SEP]")],
            pair=[{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            special_tokens={t: dict(id=t, ids=[SPECIAL.index(t)], tokens=[t]) for t in ("[CLS]", "[SEP]")},
        ),
        model=dict(type="WordPiece", unk_token="[UNK]", continuing_subword_prefix="##", max_input_chars_per_word=60),
    )


def setups():
    bert = {"tokenizer_class": "BertTokenizer", "model_max_length": 512}
    generic = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 10**30,
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "mask_token": "[MASK]",
    }
    word = {
        "content": "hello",
        "lstrip": False,
        "rstrip": True,
        "normalized": False,
        "single_word": False,
        "special": False,
    }
    return {
        "uncased": dict(vocab="uncased", config=bert, fast=None),
        "cased": dict(vocab="cased", config={**bert, "do_lower_case": False}, fast=None),
        "accents": dict(
            vocab="uncased", config={**bert, "strip_accents": False, "tokenize_chinese_chars": False}, fast=None
        ),
        "stripped": dict(vocab="cased", config={**bert, "do_lower_case": False, "strip_accents": True}, fast=None),
        "zh": dict(
            vocab="zh", config={**bert, "tokenizer_class": "BertTokenizerFast", "model_max_length": 128}, fast=None
        ),
        "raw": dict(vocab="uncased", config=generic, fast=fast_file()),
        "added": dict(
            vocab="uncased",
            config={
                **bert,
                "added_tokens_decoder": {
                    str(i): dict(word, content=t, rstrip=False, special=True) for i, t in enumerate(SPECIAL)
                }
                | {"@hello": word},
            },
            fast=None,
        ),
    }


def open_setup(name, s):
    """Puts the folder together, as the test does, and opens it as anybody would."""
    if name == "minilm":
        return AutoTokenizer.from_pretrained(MODEL)
    folder = tempfile.mkdtemp()
    shutil.copy(os.path.join(FIXTURES, s["vocab"], "vocab.txt"), folder)
    with open(os.path.join(folder, "vocab.txt"), encoding="utf-8") as f:
        vocab = {line.rstrip("\n"): i for i, line in enumerate(f)}
    added = s["config"].get("added_tokens_decoder", {})
    for key in [k for k in added if k.startswith("@")]:
        added[str(vocab[key[1:]])] = added.pop(key)
    if s["fast"]:
        s["fast"]["model"]["vocab"] = vocab
    for file, value in (
        ("tokenizer_config.json", s["config"]),
        ("tokenizer.json", s["fast"]),
        ("config.json", {"model_type": "bert"}),
    ):
        if value:
            with open(os.path.join(folder, file), "w", encoding="utf-8") as f:
                json.dump(value, f)
    if s["fast"]:
        s["fast"]["model"].pop("vocab")  # the test puts vocab.txt there
    opened = AutoTokenizer.from_pretrained(folder)
    shutil.rmtree(folder)
    return opened


def ids(tok, text, row):
    top = row.get("m") or min(tok.model_max_length, 512)
    return tok(
        text,
        truncation=True,
        max_length=top,
        padding=False,
        split_special_tokens=bool(row.get("plain")),
        add_special_tokens=not row.get("bare"),
    )["input_ids"]


def main():
    chars = pool()
    write_vocabularies(chars)
    made = {**setups(), "minilm": None}
    toks = {name: open_setup(name, s) for name, s in made.items()}
    fixture = [n for n in made if n != "minilm"]
    vocabs = {
        v: open(os.path.join(FIXTURES, v, "vocab.txt"), encoding="utf-8").read().split("\n")[5:-1]
        for v in ("uncased", "cased", "zh")
    }
    rows = [({"t": t}, None) for t in TITLES + WORLD + HANGING]
    rows += [({"t": t}, ["minilm", "uncased", "cased", "raw"]) for t in LONG]
    rows += [({"t": t, **o}, ["minilm", "uncased", "cased", "added"]) for t in GLUED for o in ({}, {"plain": True})]
    rows += [
        ({"t": t, "m": m, **o}, ["minilm", "zh"])
        for t in MANY
        for m in (2, 3, 7, 64, 511, 512)
        for o in ({}, {"bare": True})
        if m < 65 or not o
    ]
    rows += [({"x": b.hex()}, None) for b in BROKEN]
    rows += [
        ({"t": "say hello to ahellob [SEP]hello HELLO  hello", **o}, ["added", "uncased"])
        for o in ({}, {"plain": True})
    ]
    kinds = [
        lambda: words_of(vocabs[rnd.choice(("uncased", "cased", "zh"))], rnd.randint(1, 9)),
        lambda: "".join(rnd.choice(chars) for _ in range(rnd.randint(1, 12))),
        lambda: "".join(
            rnd.choice(chars + ["a", "é", " "]) + "".join(rnd.choice(MARKS) for _ in range(rnd.randint(0, 4)))
            for _ in range(rnd.randint(1, 5))
        ),
        lambda: soup([rnd.choice(SCRIPTS)] * 3 + [(0x20, 0x7E)], rnd.randint(2, 16)),
        lambda: soup([(0, 0x10FFFF)], rnd.randint(1, 14)),
        lambda: soup([(0, 0xFFFF)], rnd.randint(1, 14)),
        lambda: " ".join(rnd.choice(TITLES + WORLD).split()[:4][::-1]) + rnd.choice(("", " [SEP]", "##s", "…")),
    ]
    MARKS = [c for c in chars if unicodedata.combining(c)]
    for i in range(2800):
        row = {"t": kinds[i % len(kinds)]()}
        if rnd.random() < 0.15:
            row["m"] = rnd.randint(2, 12)
        if rnd.random() < 0.1:
            row[rnd.choice(("plain", "bare"))] = True
        rows.append((row, ["minilm", fixture[(i // len(kinds) + i) % len(fixture)]]))
    with open(os.path.join(HERE, "tokens.jsonl"), "w", encoding="utf-8") as f:
        f.write(json.dumps({"setups": {n: made[n] for n in fixture}}, ensure_ascii=False, separators=(",", ":")) + "\n")
        for row, names in rows:
            text = row["t"] if "t" in row else bytes.fromhex(row["x"]).decode("utf-8", "replace")
            row["i"] = {n: ids(toks[n], text, row) for n in names or list(made)}
            f.write(json.dumps(row, ensure_ascii=True, separators=(",", ":")) + "\n")
    print(len(rows), "texts,", sum(len(n or made) for _, n in rows), "encodings", file=sys.stderr)


main()
