#!/usr/bin/env python3
"""Golden numbers of the whole model, from PyTorch in double: logits, loss, every gradient, ten losses.

Writes tests/golden/model/base (a tiny random BERT folder) and tests/golden/model/golden.safetensors, which holds ten
slates, the frozen states they need, and per case (view, K) the initial tensors, the logits of each part, loss and
gradients of the first slate, and the losses of ten steps on the ten slates in turn (AdamW with warm-up, clipping and
decay; AdaGrad; running statistics).  Needs torch, transformers and safetensors; the formulas are written out from
MODEL.md, not taken from the C code.  Tensors are named as in the parameter table.

    python3 tests/golden/make_model.py
"""
import math
import os

import numpy as np
import torch
from safetensors.numpy import save_file
from transformers import BertConfig, BertModel

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "model")
C, H, F_FFN, L, V, P = 8, 2, 12, 3, 40, 48
EVENTS, TYPES, AGES, N_NUMERIC, BITS, FAMILIES, CONCAT = 5, 32, 16, 4, 8, 16, 32
CLS, SEP = 1, 2
SCALE = 3.0  # length of pooled states
RATES = dict(learning=2e-3, head=1e-2, match=5e-3, linear=0.1, hashed=0.05, decay=0.01, clip=0.5, warmup=3)
CASES = [("pooled", 0), ("pooled", 1), ("pooled", 2), ("tokens", 1), ("tokens", 2), ("concat", 1), ("concat", 2),
         ("concat", 3)]
STAT = dict(mean=np.float32([0.25, 4, 0.875, 1]), scale=np.float32([1, 0.125, 5, 2]))  # of the first slate's numbers
rng = np.random.default_rng(20)


def bf16(x):
    return x.to(torch.bfloat16).to(torch.float64)


def make_base():
    torch.manual_seed(5)
    cfg = BertConfig(vocab_size=V, hidden_size=C, num_hidden_layers=L, num_attention_heads=H, intermediate_size=F_FFN,
                     max_position_embeddings=P, type_vocab_size=2, hidden_dropout_prob=0.0,
                     attention_probs_dropout_prob=0.0, attn_implementation="eager")
    model = BertModel(cfg, add_pooling_layer=False).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            centre = 1.0 if name.endswith("LayerNorm.weight") else 0.0
            p.copy_(torch.randn(p.shape) * (0.15 if centre or name.endswith("bias") else 0.45) + centre)
    model.save_pretrained(os.path.join(HERE, "base"))
    return model.double()


# --- slates -----------------------------------------------------------------------------------------------------------

def make_slates():
    sentences = []
    for n in (3, 4, 5, 6, 7, 4, 5, 3, 6, 5, 4, 8, 5, 2):
        sentences.append([CLS] + [int(i) for i in rng.integers(3, V, n)] + [SEP])
    slates = []
    for s in range(10):
        n_events, n_items = [4, 0, 7, 3, 1, 5, 6, 2, 0, 5][s], [4, 3, 5, 2, 4, 3, 4, 5, 2, 3][s]
        items = [dict(item=int(rng.integers(1, 9)), sentence=int(rng.integers(0, len(sentences))), label=float(i == s % n_items),
                      weight=[1.0, 0.5, 2.0][(s + i) % 3]) for i in range(n_items)]
        events = [dict(item=int(rng.integers(1, 9)), sentence=int(rng.integers(0, len(sentences))),
                       age=float(np.float32(10.0 ** rng.uniform(-1, 6))), type=int(rng.integers(0, 9)))
                  for _ in range(n_events)]
        numeric = (rng.normal(size=(n_items, N_NUMERIC)) * [1, 10, 0.1, 0] + [0, 5, 1, 2]).astype(np.float32)
        hashed = [[(int(rng.integers(0, 1 << 22)), float(np.float32(rng.normal()))) for _ in range(rng.integers(0, 4))]
                  for _ in range(n_items)]
        if hashed[0]:
            hashed[-1] = hashed[-1] + [hashed[0][0]]  # a row shared by two candidates
        slates.append(dict(items=items, events=events, numeric=numeric, hashed=hashed, impression=s % 3 == 0))
    return sentences, slates


# --- the encoder's arithmetic, layer by layer -------------------------------------------------------------------------

def linear(x, w, b=None):
    y = x @ w.T
    return y if b is None else y + b


def layernorm(x, gain, bias):
    mean = x.mean(-1, keepdim=True)
    var = ((x - mean) ** 2).mean(-1, keepdim=True)
    return (x - mean) / torch.sqrt(var + 1e-12) * gain + bias


def gelu(x):
    return x * 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0)))


def attend(q, k, v):
    out = []
    for h in range(H):
        cols = slice(h * C // H, (h + 1) * C // H)
        out.append(torch.softmax(q[:, cols] @ k[:, cols].T / math.sqrt(C / H), -1) @ v[:, cols])
    return torch.cat(out, 1)


def rest(p, at, attended, x):
    h = layernorm(x + linear(attended, p[at + "o.weight"], p[at + "o.bias"]), p[at + "ln1.weight"], p[at + "ln1.bias"])
    u = gelu(linear(h, p[at + "up.weight"], p[at + "up.bias"]))
    return layernorm(h + linear(u, p[at + "down.weight"], p[at + "down.bias"]), p[at + "ln2.weight"], p[at + "ln2.bias"])


def qkv(p, at, x):
    y = linear(x, p[at + "qkv.weight"], p[at + "qkv.bias"])
    return y[:, :C], y[:, C:2 * C], y[:, 2 * C:]


def layer_tensors(base, l):
    q = base.encoder.layer[l]
    a = q.attention
    return {
        "qkv.weight": torch.cat([a.self.query.weight, a.self.key.weight, a.self.value.weight]),
        "qkv.bias": torch.cat([a.self.query.bias, a.self.key.bias, a.self.value.bias]),
        "o.weight": a.output.dense.weight, "o.bias": a.output.dense.bias,
        "up.weight": q.intermediate.dense.weight, "up.bias": q.intermediate.dense.bias,
        "down.weight": q.output.dense.weight, "down.bias": q.output.dense.bias,
        "ln1.weight": a.output.LayerNorm.weight, "ln1.bias": a.output.LayerNorm.bias,
        "ln2.weight": q.output.LayerNorm.weight, "ln2.bias": q.output.LayerNorm.bias}


def hidden_states(base, ids, types=None):
    types = [0] * len(ids) if types is None else types
    with torch.no_grad():
        out = base(input_ids=torch.tensor([ids]), token_type_ids=torch.tensor([types]), output_hidden_states=True)
    return [h[0] for h in out.hidden_states]


def unit(x):
    return x / torch.linalg.norm(x)


def frozen_states(base, sentences, mid):
    out = []
    for ids in sentences:
        h = hidden_states(base, ids)
        out.append(dict(pooled=bf16(SCALE * unit(h[mid].mean(0))), final=bf16(unit(h[L].mean(0))), tokens=bf16(h[mid])))
    return out


# --- the model --------------------------------------------------------------------------------------------------------

def initial(base, view, k):
    t = {"bias": (2,), "match.map": (C, C), "match.tau": (2,), "match.rank": (EVENTS,), "match.age": (AGES,),
         "match.type": (TYPES,), "match.item": (1, C), "match.linear": (1, 8), "numeric.weight": (1, N_NUMERIC),
         "hashed.weight": (1 << BITS,), "text.head": (1, C)}
    if view != "concat" and k > 0:
        t.update({"text.user": (1, C), "text.rank": (EVENTS, C), "text.age": (AGES, C), "text.type": (TYPES, C),
                  "text.role": (1, C)})
    p = {n: torch.tensor(rng.normal(size=s).astype(np.float32) * np.float32(0.3)) for n, s in t.items()}
    p["match.tau"] = torch.tensor([8.0, 25.0]) * (1 + 0.1 * p["match.tau"])
    p["hashed.scale"] = 1 + 0.25 * torch.arange(FAMILIES)[None]
    for l in range(L - k, L):
        for name, w in layer_tensors(base, l).items():
            p[f"text.layer.{l}.{name}"] = w.detach().float()
    return {n: w.double().clone().requires_grad_(True) for n, w in p.items()}


def age_bucket(minutes):
    return min(15, int(math.floor(math.log2(1 + minutes) / 1.5)))


def text_rows(p, view, k, slate, states, base, sentences):
    """Per candidate the hidden row that the head reads."""
    events = slate["events"][:EVENTS]
    first = L - k
    if view == "concat":
        return [concat_row(p, k, slate, i, base, sentences) for i in range(len(slate["items"]))]
    rows_of = lambda item: states[item["sentence"]]["tokens"] if view == "tokens" else states[item["sentence"]]["pooled"][None]
    if k == 0:
        return [rows_of(i)[0] for i in slate["items"]]
    user = [p["text.user"][0]] + [states[e["sentence"]]["pooled"] + p["text.rank"][r] + p["text.age"][age_bucket(e["age"])]
                                  + p["text.type"][e["type"]] for r, e in enumerate(events)]
    user = torch.stack(user)
    items = [rows_of(i) + p["text.role"] for i in slate["items"]]
    for l in range(first, L):
        at = f"text.layer.{l}."
        uq, uk, uv = qkv(p, at, user)
        new = []
        for x in items:
            q, kk, v = qkv(p, at, x)
            new.append(rest(p, at, attend(q, torch.cat([uk, kk]), torch.cat([uv, v])), x))
        items = new
        user = rest(p, at, attend(uq, uk, uv), user)
    return [x[0] for x in items]


def concat_row(p, k, slate, i, base, sentences):
    own = sentences[slate["items"][i]["sentence"]]
    events = [sentences[e["sentence"]] for e in slate["events"][:EVENTS]]
    ids, room = [CLS], CONCAT - len(own)  # [CLS] and the item without its own [CLS]
    for s in events:  # newest first; the oldest go when there is no room
        if len(s) - 1 > room:
            break
        ids += s[1:]
        room -= len(s) - 1
    if len(ids) == 1:
        ids.append(SEP)
    types = [0] * len(ids) + [1] * (len(own) - 1)
    ids = ids + own[1:]
    x = hidden_states(base, ids, types)[L - k]
    for l in range(L - k, L):
        at = f"text.layer.{l}."
        x = rest(p, at, attend(*qkv(p, at, x)), x)
    return x[0]


def match_logit(p, slate, states, i):
    item, events = slate["items"][i], slate["events"][:EVENTS]
    v = states[item["sentence"]]["final"]
    z = p["match.item"][0] @ v
    if not events:
        return z
    ve = torch.stack([states[e["sentence"]]["final"] for e in events])
    keys = ve + linear(ve, p["match.map"])
    b = torch.stack([p["match.rank"][r] + p["match.age"][age_bucket(e["age"])] + p["match.type"][e["type"]]
                     for r, e in enumerate(events)])
    s = keys @ v
    others = torch.tensor([e["item"] != item["item"] for e in events])
    m = torch.softmax(b, 0) @ s
    pooled = []
    for tau in p["match.tau"]:
        pooled.append(torch.softmax((b + tau * s)[others], 0) @ s[others] if others.any() else torch.zeros(()))
    taste = unit(sum(0.5 ** (r / 10) * e for r, e in enumerate(ve)))
    cos = (ve @ v)[others]
    fixed = [taste @ v, cos.max() if others.any() else torch.zeros(()), torch.ones(())]
    feat = torch.stack([m, *pooled, torch.tensor(float(others.any())), m * m, *fixed]).double()
    return z + p["match.linear"][0] @ feat


def family(j):
    """Of a hashed index of these slates (in the program it stands above the hash)."""
    return j % 3


def part_logits(p, view, k, slate, states, base, sentences, stat):
    n = len(slate["items"])
    text = torch.stack([p["text.head"][0] @ h for h in text_rows(p, view, k, slate, states, base, sentences)])
    match = torch.stack([match_logit(p, slate, states, i) for i in range(n)])
    x = np.clip((slate["numeric"].astype(np.float64) - stat["mean"]) * stat["scale"], -5, 5)
    numeric = torch.tensor(x) @ p["numeric.weight"][0]
    hashed = torch.stack([sum((p["hashed.scale"][0, family(j)] * p["hashed.weight"][j % (1 << BITS)] * v for j, v in h),
                              torch.zeros((), dtype=torch.double)) for h in slate["hashed"]])
    return torch.stack([text, match, numeric, hashed])


def loss_of(logits, slate):
    y = torch.tensor([i["label"] for i in slate["items"]], dtype=torch.double)
    w = torch.tensor([i["weight"] for i in slate["items"]], dtype=torch.double)
    return (w * torch.nn.functional.binary_cross_entropy_with_logits(logits, y, reduction="none")).sum()


def forward(p, view, k, slate, states, base, sentences, stat):
    parts = part_logits(p, view, k, slate, states, base, sentences, stat)
    return parts, p["bias"][0 if slate["impression"] else 1] + parts.sum(0)


# --- the optimiser ----------------------------------------------------------------------------------------------------

ADAGRAD = {"bias": "linear", "match.linear": "linear", "match.item": "linear", "numeric.weight": "linear", "hashed.weight": "hashed",
           "hashed.scale": "linear"}


def group_of(name):
    if name.startswith("text.layer."):
        return RATES["learning"], RATES["decay"] if name.endswith(("qkv.weight", "o.weight", "up.weight", "down.weight")) else 0.0
    return (RATES["match"], RATES["decay"]) if name == "match.map" else (RATES["head"], 0.0)


def optimise(p, moments, t, n):
    dense = {name: w.grad / n for name, w in p.items() if name not in ADAGRAD}
    norm = math.sqrt(sum(float((g ** 2).sum()) for g in dense.values()))
    scale = min(1.0, RATES["clip"] / norm)
    for name, w in p.items():
        g = w.grad
        with torch.no_grad():
            if name in ADAGRAD:
                acc = moments.setdefault(name, torch.ones_like(w))
                acc += g ** 2
                w -= RATES[ADAGRAD[name]] * g / torch.sqrt(acc)
                continue
            rate, decay = group_of(name)
            rate *= min(1.0, t / RATES["warmup"])
            m, v = moments.setdefault(name, (torch.zeros_like(w), torch.zeros_like(w)))
            g = dense[name] * scale
            m.mul_(0.9).add_(0.1 * g)
            v.mul_(0.999).add_(0.001 * g * g)
            w -= rate * (m / (1 - 0.9 ** t) / (torch.sqrt(v / (1 - 0.999 ** t)) + 1e-8) + decay * w)


def ten_losses(p, view, k, slates, states, base, sentences):
    stat, seen, moments, losses = new_stat(), [], {}, []
    for t, slate in enumerate(slates, 1):
        for w in p.values():
            w.grad = torch.zeros_like(w)
        loss = loss_of(forward(p, view, k, slate, states, base, sentences, stat)[1], slate)
        loss.backward()
        losses.append(loss.item())
        optimise(p, moments, t, len(slate["items"]))
        seen.append(slate["numeric"].astype(np.float64))
        x = np.concatenate(seen)
        stat = dict(mean=x.mean(0), scale=1 / np.maximum(x.std(0), 1e-3))
    return losses


def new_stat():
    return dict(mean=np.zeros(N_NUMERIC), scale=np.zeros(N_NUMERIC))


# --- the file ---------------------------------------------------------------------------------------------------------

def pack_slates(out, sentences, slates):
    f32 = lambda x: np.asarray(x, dtype=np.float32)
    for i, ids in enumerate(sentences):
        out[f"sentence.{i}"] = f32(ids)
    for i, s in enumerate(slates):
        at = f"slate.{i}."
        out[at + "items"] = f32([[q["item"], q["sentence"], q["label"], q["weight"]] for q in s["items"]])
        if s["events"]:
            out[at + "events"] = f32([[q["item"], q["sentence"], q["age"], q["type"]] for q in s["events"]])
        out[at + "numeric"] = s["numeric"]
        out[at + "impression"] = f32([float(s["impression"])])
        out[at + "hashed_n"] = f32([len(h) for h in s["hashed"]])
        if any(s["hashed"]):
            out[at + "hashed"] = f32([pair for h in s["hashed"] for pair in h])


def main():
    base = make_base()
    sentences, slates = make_slates()
    out = {}
    pack_slates(out, sentences, slates)
    for view, k in CASES:
        at = f"{view}.{k}."
        states = frozen_states(base, sentences, L - k)
        for i, s in enumerate(states):  # concat reads only the final vectors (for match), but an entry has both
            for name in ("pooled", "final") + (("tokens",) if view == "tokens" else ()):
                out[f"{at}state.{i}.{name}"] = s[name].numpy().astype(np.float32)
        p = initial(base, view, k)
        for name, w in p.items():
            out[f"{at}init.{name}"] = w.detach().numpy().astype(np.float32)
        first = slates[2]
        parts, logits = forward(p, view, k, first, states, base, sentences, STAT)
        loss = loss_of(logits, first)
        loss.backward()
        out[at + "parts"] = parts.detach().numpy().astype(np.float32)
        out[at + "logits"] = logits.detach().numpy().astype(np.float32)
        out[at + "loss"] = np.asarray([loss.item()], dtype=np.float32)
        for name, w in p.items():
            out[f"{at}grad.{name}"] = (torch.zeros_like(w) if w.grad is None else w.grad).numpy().astype(np.float32)
        out[at + "losses"] = np.asarray(ten_losses(p, view, k, slates, states, base, sentences), dtype=np.float32)
        print(view, k, out[at + "losses"])
    out["stat.mean"], out["stat.scale"] = STAT["mean"], STAT["scale"]
    save_file({n: np.ascontiguousarray(x) for n, x in out.items()}, os.path.join(HERE, "golden.safetensors"))
    for name in ("golden.safetensors", os.path.join("base", "model.safetensors")):
        os.chmod(os.path.join(HERE, name), 0o644)


if __name__ == "__main__":
    main()
