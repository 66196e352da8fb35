#!/usr/bin/env python3
"""Writes small BERT folders with random weights, and what transformers makes of them, for the encoder's tests.

    python3 tests/golden/make_encoder.py [MODEL_DIR]

Into tests/golden/encoder/<variant>/: config.json, model.safetensors, pooling files, and expected.safetensors (ids.<i>,
types.<i> as I32; mid.<i> = states after layer 1, final.<i> = last states, both (n, C) for short sentences; mean.<i>,
cls.<i> for all; all F32, computed by transformers in float32).  With MODEL_DIR (all-MiniLM-L6-v2) also
tests/golden/encoder/minilm.safetensors: ids.<i> and vector.<i>, mean-pooled and unit length, of real sentences.
Needs torch, transformers, safetensors.  The same bytes each time for one torch version.
"""
import json
import os
import shutil
import sys

import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertModel

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "encoder")
LENGTHS = [1, 2, 3, 7, 16, 33, 64, 100, 255, 256, 511, 512]
SHAPE = dict(vocab_size=48, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
             max_position_embeddings=64, type_vocab_size=2)
VARIANTS = {
    "gelu": dict(config=dict(hidden_act="gelu", layer_norm_eps=1e-12, max_position_embeddings=512), pooler=True,
                 position_ids=True, pool="mean", unit=True, max_seq_length=128),
    "gelu_new": dict(config=dict(hidden_act="gelu_new", layer_norm_eps=1e-5), prefix="bert.", pool="cls"),
    "relu": dict(config=dict(hidden_act="relu", layer_norm_eps=1e-12, hidden_size=28, num_attention_heads=2,
                             intermediate_size=45, num_hidden_layers=3, type_vocab_size=3), dtype="f16", pool="mean"),
    "old": dict(config=dict(hidden_act="gelu", layer_norm_eps=1e-7, hidden_size=24, num_attention_heads=8,
                            num_hidden_layers=1), dtype="bf16", gamma=True, prefix="bert.", pooler=True),
}
SENTENCES = ["", "mug", "white hanging heart t-light holder", "I bought regency cakestand 3 tier",
             "SET OF 6 T-LIGHTS SANTA by Acme", "the quick brown fox jumps over the lazy dog, twice a day!",
             "Café crème brûlée — 12 × 200 g", "我购买了商品红色杯子"]


def randomise(model, seed):
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            x = torch.randn(p.shape, generator=g)
            p.copy_(1 + 0.3 * x if "LayerNorm.weight" in name else 0.3 * x)


def states(model, ids, types):
    with torch.no_grad():
        out = model(input_ids=torch.tensor([ids]), token_type_ids=torch.tensor([types]),
                    attention_mask=torch.ones(1, len(ids), dtype=torch.long), output_hidden_states=True)
    return out.hidden_states


def expected(model, config, seed):
    g = torch.Generator().manual_seed(seed)
    out, n_done = {}, 0
    for n in LENGTHS:
        if n > config.max_position_embeddings:
            break
        ids = torch.randint(0, config.vocab_size, (n,), generator=g).tolist()
        types = torch.randint(0, config.type_vocab_size, (n,), generator=g).tolist() if n_done % 2 else [0] * n
        h = states(model, ids, types)
        out[f"ids.{n_done}"] = torch.tensor(ids, dtype=torch.int32)
        out[f"types.{n_done}"] = torch.tensor(types, dtype=torch.int32)
        if n <= 64:
            out[f"mid.{n_done}"] = h[1][0].clone()
            out[f"final.{n_done}"] = h[-1][0].clone()
        out[f"mean.{n_done}"] = h[-1][0].mean(0)
        out[f"cls.{n_done}"] = h[-1][0, 0].clone()
        n_done += 1
    return out


def write_json(path, value):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, indent=1, sort_keys=True)
        f.write("\n")


def write_pooling(folder, v):
    if "pool" not in v:
        return
    write_json(f"{folder}/1_Pooling/config.json", {
        "word_embedding_dimension": {**SHAPE, **v["config"]}["hidden_size"],
        "pooling_mode_cls_token": v["pool"] == "cls", "pooling_mode_mean_tokens": v["pool"] == "mean",
        "pooling_mode_max_tokens": False, "pooling_mode_mean_sqrt_len_tokens": False})
    modules = ["Transformer", "Pooling"] + (["Normalize"] if v.get("unit") else [])
    paths = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    write_json(f"{folder}/modules.json", [
        {"idx": i, "name": str(i), "path": paths[m], "type": f"sentence_transformers.models.{m}"}
        for i, m in enumerate(modules)])
    if "max_seq_length" in v:
        write_json(f"{folder}/sentence_bert_config.json", {"max_seq_length": v["max_seq_length"], "do_lower_case": False})


def write_variant(name, v, seed):
    folder = f"{HERE}/{name}"
    shutil.rmtree(folder, ignore_errors=True)
    values = {**SHAPE, **v["config"]}
    config = BertConfig(**values, attn_implementation="eager")
    model = BertModel(config, add_pooling_layer=v.get("pooler", False)).eval()
    randomise(model, seed)
    stored = {"f16": torch.float16, "bf16": torch.bfloat16}.get(v.get("dtype"), torch.float32)
    model.load_state_dict({k: w.to(stored).float() for k, w in model.state_dict().items()})
    tensors = {}
    for k, w in model.state_dict().items():
        if v.get("gamma"):
            k = k.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        tensors[v.get("prefix", "") + k] = w.to(stored).contiguous()
    if v.get("position_ids"):
        tensors["embeddings.position_ids"] = torch.arange(values["max_position_embeddings"]).expand((1, -1)).contiguous()
    write_json(f"{folder}/config.json", {**values, "model_type": "bert", "architectures": ["BertModel"]})
    write_pooling(folder, v)
    save_file(tensors, f"{folder}/model.safetensors", metadata={"format": "pt"})
    save_file(expected(model, config, seed + 1), f"{folder}/expected.safetensors", metadata={"format": "pt"})


def write_real(folder):
    from transformers import AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = BertModel.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    texts = SENTENCES + [" ".join(SENTENCES[i % 7] for i in range(k)) for k in (8, 40, 90)]
    out = {}
    for i, text in enumerate(texts):
        ids = tokenizer(text, truncation=True, max_length=512)["input_ids"]
        h = states(model, ids, [0] * len(ids))[-1][0].mean(0)
        out[f"ids.{i}"] = torch.tensor(ids, dtype=torch.int32)
        out[f"vector.{i}"] = h / h.norm()
    save_file(out, f"{HERE}/minilm.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    torch.set_num_threads(1)
    for at, (key, value) in enumerate(VARIANTS.items()):
        write_variant(key, value, 100 + at)
    if len(sys.argv) > 1:
        write_real(sys.argv[1])
