"""PyTorch on the device: what runs in the workers of peers.py (tests/bench/peers/worker.py).

Encode: the folder's encoder in bfloat16, ids from the host, pooled vectors back to it, as ours.  Train: our joint model
(tests/bench/peers/joint.py) with two trainable layers, slates padded to one length and batched, which a GPU likes better than
the packed rows of the processor's; contents are random, sizes those of the slates that ours learns.
"""
import json
import struct

import torch
from torch import nn

from joint import Joint, Trainer
from slates import AGES, EVENTS, FAMILIES, HASHED

functional = nn.functional


def load(folder, device):
    """Tensors of a file of made_model.py."""
    with open(f"{folder}/model.safetensors", "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
        data = bytearray(file.read())
    out = {}
    for name, about in header.items():
        first, last = about["data_offsets"]
        out[name] = torch.frombuffer(data, dtype=torch.bfloat16, count=(last - first) // 2, offset=first).reshape(about["shape"]).to(device)
    with open(f"{folder}/config.json") as file:
        return out, json.load(file)


class Encoder(nn.Module):
    def __init__(self, folder, device):
        super().__init__()
        self.w, config = load(folder, device)
        self.heads, self.layers, self.eps = config["num_attention_heads"], config["num_hidden_layers"], config["layer_norm_eps"]
        for layer in range(self.layers):
            for kind in ("weight", "bias"):
                self.w[f"{layer}.qkv.{kind}"] = torch.cat([self.w[f"encoder.layer.{layer}.attention.self.{who}.{kind}"] for who in ("query", "key", "value")])

    def norm(self, x, name):
        return functional.layer_norm(x, x.shape[-1:], self.w[name + ".weight"], self.w[name + ".bias"], self.eps)

    def linear(self, x, name):
        return functional.linear(x, self.w[name + ".weight"], self.w[name + ".bias"])

    def forward(self, ids):
        B, T = ids.shape
        w = self.w
        x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][:T] + w["embeddings.token_type_embeddings.weight"][0]
        x = self.norm(x, "embeddings.LayerNorm")
        for layer in range(self.layers):
            at = f"encoder.layer.{layer}."
            q, k, v = self.linear(x, f"{layer}.qkv").view(B, T, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
            seen = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(B, T, -1)
            x = self.norm(x + self.linear(seen, at + "attention.output.dense"), at + "attention.output.LayerNorm")
            up = functional.gelu(self.linear(x, at + "intermediate.dense"))
            x = self.norm(x + self.linear(up, at + "output.dense"), at + "output.LayerNorm")
        return x.float().mean(1)


class Encode:
    def __init__(self, folder, threads, tokens, batches, compiled, device="cuda"):
        torch.set_num_threads(threads)
        self.device = device
        model = Encoder(folder, device)
        self.run = torch.compile(model, dynamic=False) if compiled else model
        vocabulary = model.w["embeddings.word_embeddings.weight"].shape[0]
        self.ids = (torch.arange(max(batches) * tokens) * 7919 + 5).remainder(vocabulary).reshape(-1, tokens)
        self.facts = {"torch": torch.__version__, "batch": self.fastest(batches)}

    def fastest(self, batches):
        import time

        speed = {}
        for self.batch in batches:
            for _ in range(3):
                self.step()
            start, units = time.perf_counter(), 0
            while time.perf_counter() - start < 0.2:
                units += self.step()
            speed[self.batch] = units / (time.perf_counter() - start)
        self.batch = max(speed, key=speed.get)
        return self.batch

    def step(self):
        with torch.inference_mode():
            self.last = self.run(self.ids[:self.batch].to(self.device)).cpu()
        return self.batch


class Slates:
    """n slates as joint.Step has two: of K candidates each (fewer: padding), C columns, random."""

    def __init__(self, sizes, K, C, F, hashed, device):
        n, E = len(sizes), EVENTS
        make = torch.Generator().manual_seed(len(sizes))

        def normal(*shape):
            return torch.randn(*shape, generator=make)

        self.examples = sum(items for items, _ in sizes)
        real, events = torch.zeros(n, K), torch.full((n, 1, E), float("-inf"))
        for at, (items, seen) in enumerate(sizes):
            real[at, :items] = 1
            events[at, :, :min(seen, E)] = 0
        known = (events[:, :, :1] == 0).float()
        label = (torch.rand(n, K, generator=make) < 0.1).float()
        rows = torch.arange(n * K)[real.reshape(-1) > 0].repeat_interleave(hashed)
        self.touched, place = torch.unique(torch.randint(HASHED, (len(rows),), generator=make), return_inverse=True)
        fields = {"real": real.reshape(-1), "label": label.reshape(-1), "hidden": events, "strange": events.expand(n, K, E), "known": known,
                  "item_pooled": normal(n, K, C), "item_final": functional.normalize(normal(n, K, C), dim=-1), "event_pooled": normal(n, E, C),
                  "event_final": functional.normalize(normal(n, E, C), dim=-1), "age": torch.randint(AGES, (n, E), generator=make),
                  "type": torch.zeros(n, E, dtype=torch.long), "fixed": normal(n, K, 3), "others": torch.ones(n, K, 1), "numeric": normal(n * K, F),
                  "cooccur": normal(n * K, 2), "family": torch.randint(len(FAMILIES), (len(rows),), generator=make),
                  "row": rows, "place": place, "value": torch.ones(len(rows)), "touched": self.touched}
        for name, value in fields.items():
            setattr(self, name, value.contiguous().to(device))


class Batched(Joint):
    """Joint over Slates, with as many layers as there are weights for."""

    def attend(self, x, own, user, w, b, mask):
        """x (n, R, C) attends to its slate's user rows, and each row to itself where `own`."""
        H, C = self.heads, x.shape[-1]
        n, D = x.shape[0], C // H
        k, v = functional.linear(user, w[C:], b[C:]).view(n, -1, 2, H, D).unbind(2)
        if not own:
            q = functional.linear(x, w[:C], b[:C]).view(n, -1, H, D)
            seen = functional.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=mask.to(q.dtype))
            return seen.transpose(1, 2).reshape(n, -1, C)
        q, own_k, own_v = functional.linear(x, w, b).view(n, -1, 3, H, D).unbind(2)
        scores = torch.einsum("nrhd,nehd->nhre", q, k) + mask
        self_scores = (q * own_k).sum(-1).transpose(1, 2).unsqueeze(-1)
        a = torch.softmax(torch.cat([scores, self_scores], -1).float() * D ** -0.5, -1).to(q.dtype)
        mixed = torch.einsum("nhre,nehd->nrhd", a[..., :-1], v) + a[..., -1:].transpose(1, 2) * own_v
        return mixed.reshape(n, -1, C)

    def after(self, at, x, mixed):
        p, linear, C = self.p, functional.linear, x.shape[-1]
        h = functional.layer_norm(x + linear(mixed, p[at + "o_weight"], p[at + "o_bias"]), (C,), p[at + "ln1_weight"], p[at + "ln1_bias"], self.eps)
        d = linear(functional.gelu(linear(h, p[at + "up_weight"], p[at + "up_bias"])), p[at + "down_weight"], p[at + "down_bias"])
        return functional.layer_norm(h + d, (C,), p[at + "ln2_weight"], p[at + "ln2_bias"], self.eps)

    def text(self, s):
        p, n = self.p, s.event_pooled.shape[0]
        events = s.event_pooled + p["text_rank"] + p["text_age"][s.age] + p["text_type"][s.type]
        user = torch.cat([p["text_user"].expand(n, 1, -1), events], 1)
        mask = functional.pad(s.hidden, (1, 0)).unsqueeze(1)
        x = s.item_pooled + p["text_role"]
        layers = sum(name.endswith("qkv_weight") for name in p)
        for layer in range(layers):
            at = f"layer{layer}_"
            w, b = p[at + "qkv_weight"], p[at + "qkv_bias"]
            x = self.after(at, x, self.attend(x, True, user, w, b, mask))
            if layer + 1 < layers:
                user = self.after(at, user, self.attend(user, False, user, w, b, mask))
        return functional.linear(x, p["text_head"]).reshape(-1)

    def match(self, s):
        p, n = self.p, torch.nan_to_num
        keys = s.event_final + functional.linear(s.event_final, p["match_map"])
        scores = (s.item_final @ keys.transpose(1, 2)).float()
        bias = (p["match_rank"] + p["match_age"][s.age] + p["match_type"][s.type]).unsqueeze(1)

        def pooled(logits, mask):
            seen = logits + mask
            weights = torch.exp(seen - n(seen.max(-1, keepdim=True).values.detach(), neginf=0.0))
            return (weights * scores).sum(-1, keepdim=True) / weights.sum(-1, keepdim=True).clamp_min(1e-30)

        m = pooled(bias.expand_as(scores), s.hidden)
        sharp = [pooled(bias + p["match_tau"][i] * scores, s.strange) for i in (0, 1)]
        features = torch.cat([m, *sharp, s.others, m * m, s.fixed], -1) * s.known
        return ((features * p["match_linear"]).sum(-1) + (s.item_final * p["match_item"]).sum(-1)).reshape(-1)


def begin(C, F, layers):
    """Parameters as they begin, by the names that Joint has."""
    make = torch.Generator().manual_seed(1)
    shapes = {"text.user": (1, C), "text.rank": (EVENTS, C), "text.age": (AGES, C), "text.type": (8, C), "text.role": (1, C), "text.head": (1, C),
              "match.map": (C, C), "match.rank": (EVENTS,), "match.age": (AGES,), "match.type": (8,), "match.tau": (2,), "match.linear": (8,),
              "match.item": (C,), "numeric.weight": (1, F), "cooccur.weight": (1, 2), "bias": (2,),
              "deep.first.weight": (64, F + 2), "deep.first.bias": (1, 64), "deep.second.weight": (32, 64), "deep.second.bias": (1, 32),
              "deep.head": (1, 32)}
    for layer in range(layers):
        at = f"layer{layer}."
        shapes.update({at + "qkv.weight": (3 * C, C), at + "qkv.bias": (3 * C,), at + "o.weight": (C, C), at + "o.bias": (C,), at + "up.weight": (4 * C, C),
                       at + "up.bias": (4 * C,), at + "down.weight": (C, 4 * C), at + "down.bias": (C,)})
        for norm in ("ln1", "ln2"):
            shapes.update({f"{at}{norm}.weight": (C,), f"{at}{norm}.bias": (C,)})
    return {name: torch.ones(shape) if ".ln" in name and name.endswith("weight") else torch.randn(shape, generator=make) * 0.02 for name, shape in shapes.items()}


class Train:
    def __init__(self, threads, sizes, examples, columns, heads, layers, numeric, hashed, compiled, device="cuda"):
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision("high")
        self.device, self.at = device, 0
        most = max(items for items, _ in sizes)
        self.steps = [Slates(some, most, columns, numeric, hashed, device) for some in batches(sizes, examples)]
        self.trainer = Trainer(begin(columns, numeric, layers), heads, autocast=True, compiled=compiled, made=Batched, device=device)
        for step in self.steps[:8]:
            self.trainer.learn(step)
        self.facts = {"torch": torch.__version__, "batch": f"{len(self.steps)} steps of about {self.steps[0].examples} examples"}

    def step(self):
        """Some steps, until the device has done them."""
        units = 0
        for _ in range(8):
            step = self.steps[self.at]
            self.at = (self.at + 1) % len(self.steps)
            self.trainer.learn(step)
            units += step.examples
        if self.device == "cuda":
            torch.cuda.synchronize()
        return units


def batches(sizes, examples, most=16):
    """Consecutive slates, equally many each time, so that there is one shape to compile: of so many examples in the mean."""
    count = min(len(sizes), -(-examples * len(sizes) // sum(items for items, _ in sizes)))
    return [sizes[i:i + count] for i in range(0, len(sizes) - count + 1, count)][:most]
