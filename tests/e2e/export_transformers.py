#!/usr/bin/env python3
"""Compares a folder written by `freshet model export` with the base model and the weight file it was made from.

    python3 tests/e2e/export_transformers.py FRESHET BASE EXPORTED WEIGHT_FILE

1. transformers' sentence vectors of the exported folder equal `freshet embed --model EXPORTED` within 2e-5, and differ
   from the base's.  2. Every learnt layer's tensor has the weight file's bits; every other one the base's.
3. freshet.safetensors has all other tensors of the weight file, bit for bit.
"""
import json
import struct
import subprocess
import sys

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, BertModel

TEXTS = ["red glass mug", "a", "i bought a wooden bird feeder and two garden chairs", "blue wool blanket " * 12]
TOLERANCE = 2e-5


def read_weights(path):
    """The weight file of schemas/weights.h, read without our code: name → array."""
    data = open(path, "rb").read()
    magic, _, version, _, n_tensors, _, n_params, _ = struct.unpack_from("<4sIQQIIQQ", data)
    assert magic == b"FRWT", magic
    at, table = 80, []
    for _ in range(n_tensors):
        length, shift = 0, 0
        while True:
            byte = data[at]
            at += 1
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        name = data[at:at + length - 1].decode()
        at += length - 1
        rank = data[at + 1]
        shape = struct.unpack_from(f"<{rank}I", data, at + 2)
        offset, = struct.unpack_from("<Q", data, at + 2 + 4 * rank)
        at += 2 + 4 * rank + 8
        table.append((name, shape, offset))
    at = (at + 63) // 64 * 64
    params = np.frombuffer(data, "<f4", n_params, at)
    return version, {name: params[o:o + int(np.prod(s))].reshape(s) for name, s, o in table}


def hugging_face_layer(learnt, layer):
    """text.layer.<l>.* as transformers names it: name → array."""
    own = {k.split(".", 3)[3]: v for k, v in learnt.items() if k.startswith(f"text.layer.{layer}.")}
    C = own["o.weight"].shape[0]
    out = {}
    for kind in ("weight", "bias"):
        for i, who in enumerate(("query", "key", "value")):
            out[f"attention.self.{who}.{kind}"] = own[f"qkv.{kind}"][i * C:(i + 1) * C]
        for ours, theirs in (("o", "attention.output.dense"), ("up", "intermediate.dense"), ("down", "output.dense"),
                             ("ln1", "attention.output.LayerNorm"), ("ln2", "output.LayerNorm")):
            out[f"{theirs}.{kind}"] = own[f"{ours}.{kind}"]
    return {f"encoder.layer.{layer}.{k}": v for k, v in out.items()}


def vectors(folder):
    model, tokenizer = BertModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    out = []
    for text in TEXTS:
        with torch.no_grad():
            states = model(**tokenizer(text, return_tensors="pt", truncation=True, max_length=128)).last_hidden_state[0]
        mean = states.mean(0)
        out.append((mean / mean.norm()).numpy())
    return model, np.stack(out)


def embed(freshet, folder):
    lines = "".join(json.dumps({"text": t}) + "\n" for t in TEXTS)
    done = subprocess.run([freshet, "embed", "--model", folder], input=lines, capture_output=True, text=True, check=True)
    return np.array([json.loads(line)["embedding"] for line in done.stdout.splitlines()], dtype=np.float32)


def main():
    freshet, base, exported, weight_file = sys.argv[1:]
    version, learnt = read_weights(weight_file)
    assert json.load(open(f"{exported}/freshet.json"))["version"] == version
    model, theirs = vectors(exported)
    ours = embed(freshet, exported)
    worst = float(np.abs(theirs - ours).max())
    moved = float(np.abs(theirs - vectors(base)[1]).max())
    assert worst <= TOLERANCE, f"sentence vectors differ by {worst}"
    assert moved > 1e-4, f"the exported folder gives the base's vectors ({moved})"

    layers = {int(k.split(".")[2]) for k in learnt if k.startswith("text.layer.")}
    expected = {k: v for layer in layers for k, v in hugging_face_layer(learnt, layer).items()}
    loaded = {k: v.numpy() for k, v in model.state_dict().items()}
    before, after = load_file(f"{base}/model.safetensors"), load_file(f"{exported}/model.safetensors")
    assert before.keys() == after.keys()
    for name, value in after.items():
        want = expected.get(name, before[name].numpy())
        assert np.array_equal(value.numpy(), want), f"{name} is not what it should be"
        if name in loaded:
            assert np.array_equal(loaded[name], want), f"transformers loads another {name}"
    assert all(name in loaded for name in expected), "transformers left a learnt tensor out"

    rest = load_file(f"{exported}/freshet.safetensors")
    assert rest.keys() == {k for k in learnt if not k.startswith("text.layer.")}
    for name, value in rest.items():
        assert np.array_equal(value.numpy(), learnt[name]), f"{name} in freshet.safetensors"
    print(f"version {version}: {len(expected)} learnt tensors, vectors within {worst:.2g}, moved by {moved:.2g}")


main()
