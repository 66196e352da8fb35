#!/usr/bin/env python3
"""Writes vocab.txt and tokenizer_config.json of a small Chinese BERT into a folder.

    python3 tests/golden/make_chinese_vocab.py DIR

Entries: the five special tokens, ASCII and full-width punctuation, digits and Latin pieces, and the 3,755 common Han
characters of GB 2312 level 1 (as in bert-base-chinese, one entry a character, with its ## form only for Latin and
digits).  Needs nothing but Python; the same bytes each time.  tests/fixtures/zh holds its output.
"""
import json
import os
import sys

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = """the and for with of in to a red blue green black white gold silver size large small mini pro max plus usb led
tv pc cm mm kg ml set pack box bag new hot type air phone pad mac xiaomi huawei apple sony nike lee""".split()
TAILS = "s ing ed er ly al on in an en or es st th is it at le ra ti 00 000 xl gb mb hz w v cm mm kg ml".split()


def han():
    for row in range(16, 56):
        for cell in range(1, 95):
            try:
                yield bytes((0xA0 + row, 0xA0 + cell)).decode("gb2312")
            except UnicodeDecodeError:
                pass


def entries():
    seen = dict.fromkeys(SPECIAL)
    ascii_punctuation = [chr(c) for c in range(33, 127) if not chr(c).isalnum()]
    seen.update(dict.fromkeys(ascii_punctuation))
    seen.update(dict.fromkeys("，。！？、；：“”‘’（）《》〈〉【】「」『』—…·～￥℃×÷％＋－＝／＆＃＠｜"))
    latin = "abcdefghijklmnopqrstuvwxyz0123456789"
    for piece in list(latin) + PIECES:
        seen[piece] = None
    for piece in list(latin) + TAILS:
        seen["##" + piece] = None
    seen.update(dict.fromkeys(han()))
    return list(seen)


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "vocab.txt"), "w", encoding="utf-8") as f:
        f.writelines(e + "\n" for e in entries())
    config = dict(tokenizer_class="BertTokenizer", do_lower_case=True, tokenize_chinese_chars=True, strip_accents=None,
                  model_max_length=128)
    config.update(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL))
    with open(os.path.join(folder, "tokenizer_config.json"), "w", encoding="utf-8") as f:
        json.dump(config, f, indent=2)
        f.write("\n")


if __name__ == "__main__":
    main()
