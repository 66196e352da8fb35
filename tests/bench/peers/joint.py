"""freshet's default model in PyTorch, as well as it goes: parts text (pooled, K = 1), match, numeric, cooccur, hashed, deep; one step learns
two slates (../../../model/part_*.c, trainer/optim.c; same rates, warm-up, clipping).

What makes it fast: frozen states are cached; candidates of both slates are packed rows (padded to a multiple of 16, so that
torch.compile has few shapes); both users' events are one list and a mask keeps them apart, so nothing is gathered per
row; the sparse part is updated by hand on the touched rows; AdamW is fused; bf16 autocast by choice.
"""
import numpy as np
import torch
from torch import nn

from slates import EVENTS, FAMILIES, HASHED, Standardiser, hashed

ROWS, USERS = 16, 1 << 14
TENSORS = ("qkv.weight", "qkv.bias", "o.weight", "o.bias", "up.weight", "up.bias", "down.weight", "down.bias",
           "ln1.weight", "ln1.bias", "ln2.weight", "ln2.bias")


class Step:
    """Two slates as tensors: N padded rows, 2·EVENTS events."""

    def __init__(self, pair, states, tokens, standardiser, index):
        _, pooled, final = states
        self.examples = sum(len(s.label) for s in pair)
        N, E = -(-self.examples // ROWS) * ROWS, EVENTS
        self.logits = np.concatenate([s.logit for s in pair])
        rows = np.concatenate([s.sentence for s in pair])
        rows = torch.from_numpy(np.pad(rows, (0, N - len(rows))))
        self.label, self.real = torch.zeros(N), torch.zeros(N)
        self.label[:self.examples] = torch.from_numpy(np.concatenate([s.label for s in pair]))
        self.real[:self.examples] = 1
        self.item_pooled, self.item_final = pooled[rows], final[rows]
        C = pooled.shape[1]
        self.event_pooled, self.event_final = torch.zeros(2 * E, C), torch.zeros(2 * E, C)
        self.age, self.type = torch.zeros(2 * E, dtype=torch.long), torch.zeros(2 * E, dtype=torch.long)
        self.hidden = torch.full((N, 2 * E), float("-inf"))  # 0 where the row's slate has the event
        self.strange = torch.full((N, 2 * E), float("-inf"))  # 0 where it is another item besides
        self.owner = torch.full((N, 2), float("-inf"))  # 0 at the row's slate
        users = sorted({slate.user for slate in pair})
        rows_of = index.setdefault("rows of users", {})
        self.users = torch.tensor([rows_of.setdefault(user, len(rows_of)) for user in users])
        self.whose = torch.zeros(N, dtype=torch.long)  # place among them
        self.fixed, self.others, self.known = torch.zeros(N, 3), torch.zeros(N, 1), torch.zeros(N, 1)
        self.numeric, self.cooccur = torch.zeros(N, pair[0].numeric.shape[1]), torch.zeros(N, 2)
        at = 0
        for which, slate in enumerate(pair):
            self.put_slate(slate, which, slice(at, at + len(slate.label)), final)
            self.whose[at:at + len(slate.label)] = users.index(slate.user)
            at += len(slate.label)
        self.owner[at:] = 0
        raw = np.concatenate([s.numeric for s in pair])
        self.numeric[:self.examples] = torch.from_numpy(standardiser.apply(raw))
        standardiser.learn(raw)
        self.cooccur[:self.examples] = torch.from_numpy(np.concatenate([s.cooccur for s in pair]))
        self.put_hashed(pair, tokens, index)

    def put_slate(self, slate, which, rows, final):
        n, events = len(slate.event_sentence), slice(which * EVENTS, which * EVENTS + len(slate.event_sentence))
        self.owner[rows, which] = 0
        if n == 0:
            return
        self.event_pooled[events], self.event_final[events] = self.pooled_of(slate), final[slate.event_sentence]
        self.age[events], self.type[events] = torch.from_numpy(slate.event_age), torch.from_numpy(slate.event_type)
        other = torch.from_numpy(~slate.self_event)
        self.hidden[rows, events] = 0
        self.strange[rows, events] = torch.where(other, 0.0, float("-inf"))
        items, vectors = self.item_final[rows], self.event_final[events]
        taste = nn.functional.normalize((vectors * 2.0 ** (-torch.arange(n)[:, None] / 10)).sum(0), dim=0)
        cosines = (items @ vectors.T).masked_fill(~other, float("-inf")).max(1).values
        self.fixed[rows] = torch.stack([items @ taste, cosines.nan_to_num(neginf=0), torch.ones(len(items))], 1)
        self.others[rows] = other.any(1, keepdim=True).float()
        self.known[rows] = 1

    def put_hashed(self, pair, tokens, index):
        features = [(row + base, key, value) for base, slate in zip((0, len(pair[0].label)), pair) for row, key, value in hashed(slate, tokens)]
        ids = np.array([index.setdefault(key, len(index)) for _, key, _ in features]) % HASHED
        touched, self.place = (torch.from_numpy(x) for x in np.unique(ids, return_inverse=True))
        self.touched = touched
        self.row = torch.tensor([row for row, _, _ in features])
        self.family = torch.tensor([FAMILIES.index(key[0]) for _, key, _ in features])
        self.value = torch.tensor([value for _, _, value in features], dtype=torch.float32)


def make_steps(slates, states, most=None):
    """Consecutive pairs, in the order learnt."""
    tokens, pooled, _ = states
    Step.pooled_of = staticmethod(lambda slate: pooled[slate.event_sentence])
    standardiser, index = Standardiser(slates[0].numeric.shape[1]), {}
    pairs = [slates[i:i + 2] for i in range(0, len(slates) - 1, 2)][:most]
    return [Step(pair, states, tokens, standardiser, index) for pair in pairs]


class Joint(nn.Module):
    def __init__(self, exported, heads, eps=1e-12):
        """exported: tensors of a folder written by `freshet model export`, hugging_face_layer() merged in."""
        super().__init__()
        self.heads, self.eps = heads, eps
        self.p = nn.ParameterDict({name.replace(".", "_"): nn.Parameter(value.clone()) for name, value in exported.items()})

    def text(self, s, users=None):
        p, H = self.p, self.heads
        C = s.item_pooled.shape[1]
        events = s.event_pooled + p["text_rank"].repeat(2, 1) + p["text_age"][s.age] + p["text_type"][s.type]
        user = torch.cat([p["text_user"], p["text_user"], events])  # (2 + 2E, C)
        x = s.item_pooled + p["text_role"]
        w, b = p["layer_qkv_weight"], p["layer_qkv_bias"]
        k, v = nn.functional.linear(user, w[C:], b[C:]).view(-1, 2, H, C // H).unbind(1)
        q, own_k, own_v = nn.functional.linear(x, w, b).view(-1, 3, H, C // H).unbind(1)
        scores = torch.einsum("nhd,ehd->hne", q, k) + torch.cat([s.owner, s.hidden], 1)
        own = (q * own_k).sum(-1).T.unsqueeze(-1)
        a = torch.softmax(torch.cat([scores, own], -1).float() * (C // H) ** -0.5, -1).to(q.dtype)
        mixed = torch.einsum("hne,ehd->nhd", a[..., :-1], v) + a[..., -1].T.unsqueeze(-1) * own_v
        linear, norm = nn.functional.linear, nn.functional.layer_norm
        h = norm(x + linear(mixed.reshape(-1, C), p["layer_o_weight"], p["layer_o_bias"]), (C,), p["layer_ln1_weight"], p["layer_ln1_bias"], self.eps)
        d = linear(nn.functional.gelu(linear(h, p["layer_up_weight"], p["layer_up_bias"])), p["layer_down_weight"], p["layer_down_bias"])
        y = norm(h + d, (C,), p["layer_ln2_weight"], p["layer_ln2_bias"], self.eps)
        z = linear(y, p["text_head"])[:, 0]
        return z if users is None else z + (linear(y, p["text_user_map"]) * users[s.whose]) @ p["text_user_gain"][0]

    def match(self, s):
        p, n = self.p, torch.nan_to_num
        keys = s.event_final + nn.functional.linear(s.event_final, p["match_map"])
        scores = s.item_final @ keys.T
        bias = p["match_rank"].repeat(2) + p["match_age"][s.age] + p["match_type"][s.type]

        def pooled(logits, mask):
            """Mean of the scores under softmax over what the mask leaves; 0 where that is nothing."""
            weights = torch.exp((logits + mask) - n((logits + mask).max(1, keepdim=True).values.detach(), neginf=0.0))
            return (weights * scores).sum(1, keepdim=True) / weights.sum(1, keepdim=True).clamp_min(1e-30)

        scores = scores.float()
        m = pooled(bias.expand_as(scores), s.hidden)
        sharp = [pooled(bias + p["match_tau"][i] * scores, s.strange) for i in (0, 1)]
        features = torch.cat([m, *sharp, s.others, m * m, s.fixed], 1) * s.known
        return (features * p["match_linear"]).sum(1) + (s.item_final * p["match_item"]).sum(1)

    def deep(self, s):
        p, linear = self.p, nn.functional.linear
        h = torch.relu(linear(torch.cat([s.numeric, s.cooccur], 1), p["deep_first_weight"], p["deep_first_bias"][0]))
        h = torch.relu(linear(h, p["deep_second_weight"], p["deep_second_bias"][0]))
        return linear(h, p["deep_head"])[:, 0]

    def forward(self, s, users=None):
        """users: rows of the users there are, text.user_rows of ours; None: the model has none."""
        cheap = s.numeric @ self.p["numeric_weight"][0] + s.cooccur @ self.p["cooccur_weight"][0] + self.p["bias"][1]
        text = self.text(s) if users is None else self.text(s, users)
        return text.float() + self.match(s).float() + self.deep(s).float() + cheap


def load_exported(folder, layer):
    """What Joint takes, from `freshet model export`: the learnt tensors, and the top layer under our names."""
    from safetensors.torch import load_file

    rest, base = load_file(f"{folder}/freshet.safetensors"), load_file(f"{folder}/model.safetensors")
    old = f"encoder.layer.{layer}."
    old = old if old + "output.dense.weight" in base else "bert." + old
    out = {name: value for name, value in rest.items() if not name.startswith(("hashed", "text.user_rows", "numeric.mean", "numeric.scale", "bias.seen", "recalibration", "sampling"))}
    for kind in ("weight", "bias"):
        out[f"layer.qkv.{kind}"] = torch.cat([base[f"{old}attention.self.{who}.{kind}"] for who in ("query", "key", "value")])
        for ours, theirs in (("o", "attention.output.dense"), ("up", "intermediate.dense"), ("down", "output.dense"),
                             ("ln1", "attention.output.LayerNorm"), ("ln2", "output.LayerNorm")):
            out[f"layer.{ours}.{kind}"] = base[f"{old}{theirs}.{kind}"]
    return out


class Trainer:
    """One step: logits, loss, gradients, AdamW for the dense, AdaGrad for the linear and the hashed weights."""

    ADAGRAD = ("match_item", "match_linear", "numeric_weight", "cooccur_weight", "bias")

    def __init__(self, exported, heads, autocast=False, compiled=False, dynamic=False, made=Joint, device="cpu"):
        self.model, self.device = made(exported, heads).to(device), device
        self.forward = torch.compile(self.model, dynamic=dynamic) if compiled else self.model
        self.autocast = autocast
        named = dict(self.model.p.items())
        self.adamw = torch.optim.AdamW(self.groups(named), betas=(0.9, 0.999), eps=1e-8, fused=True)
        self.rates = [group["lr"] for group in self.adamw.param_groups]
        self.dense = [p for name, p in named.items() if name not in self.ADAGRAD]
        self.linear = [(named[name], torch.ones_like(named[name])) for name in self.ADAGRAD if name in named]
        self.hashed, self.seen = torch.zeros(HASHED, device=device), torch.ones(HASHED, device=device)
        gain = named.get("text_user_gain")
        self.users = None if gain is None else torch.zeros(USERS, gain.shape[1], device=device)
        self.users_seen = torch.ones(USERS, device=device)
        self.scales = nn.Parameter(torch.ones(len(FAMILIES), device=device))
        self.linear.append((self.scales, torch.ones(len(FAMILIES), device=device)))
        self.steps = 0

    def groups(self, named):
        out = {}
        for name, p in named.items():
            if name in self.ADAGRAD:
                continue
            rate = 1e-4 if name.startswith("layer") else 3e-4 if name == "match_map" else 1e-3
            decay = 0.01 if name.endswith("weight") and p.dim() == 2 or name == "match_map" else 0.0
            out.setdefault((rate, decay), []).append(p)
        return [{"params": some, "lr": rate, "weight_decay": decay} for (rate, decay), some in out.items()]

    def learn(self, s):
        """The logits as they were before the step (N padded rows)."""
        table, families = self.hashed[s.touched], len(FAMILIES)
        of = torch.zeros(len(s.label) * families, device=self.device).index_add_(0, s.row * families + s.family, table[s.place] * s.value)
        of = of.view(-1, families)
        sparse = of @ self.scales.detach()
        users = None if self.users is None else self.users[s.users].requires_grad_()
        with torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.autocast):
            z = self.forward(s, users)
        logits = (z + sparse).detach()
        dz = (torch.sigmoid(logits) - s.label) * s.real  # of the summed cross-entropy
        z.backward(dz)
        g = torch.zeros_like(table).index_add_(0, s.place, dz[s.row] * s.value * self.scales.detach()[s.family])
        self.scales.grad = dz @ of
        self.update_dense(s.examples)
        self.update_linear()
        if users is not None:
            self.update_users(s.users, users.grad)
        seen = self.seen[s.touched] + g * g
        self.seen[s.touched] = seen
        self.hashed[s.touched] = table - 0.2 * g / seen.sqrt()
        return logits

    def update_dense(self, examples):
        self.steps += 1
        grads = [p.grad for p in self.dense]
        torch._foreach_mul_(grads, 1.0 / examples)
        nn.utils.clip_grad_norm_(self.dense, 1.0)
        for group, rate in zip(self.adamw.param_groups, self.rates):
            group["lr"] = rate * min(1.0, self.steps / 100)
        self.adamw.step()
        self.adamw.zero_grad(set_to_none=True)

    def update_users(self, rows, g):
        seen = self.users_seen[rows] + (g * g).sum(1)
        self.users_seen[rows] = seen
        self.users[rows] -= 0.2 * g / seen.sqrt().unsqueeze(1)

    def update_linear(self):
        with torch.no_grad():
            for p, seen in self.linear:
                seen += p.grad * p.grad
                p -= 0.1 * p.grad / seen.sqrt()
                p.grad = None
