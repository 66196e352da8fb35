"""A Hugging Face folder of random weights, in the shape of a known model, to measure on where the model itself is not at hand.

    made_model.py FOLDER {minilm,bert} [LAYERS]

MiniLM-L6 (384 columns, 12 heads, 6 layers) or BERT-base (768, 12, 12), with the vocabulary of tests/fixtures/uncased.  Weights are
bfloat16 of random sign between 1/64 and 1/32, LayerNorms begin as they do in training.  The same file every time.
"""
import json
import os
import random
import shutil
import struct
import sys

SHAPES = {"minilm": (384, 12, 6), "bert": (768, 12, 12)}
POSITIONS = 512


def weights(source, count):
    """One random byte a number: its sign and 7 bits of mantissa."""
    drawn = source.randbytes(count)
    out = bytearray(2 * count)
    out[0::2] = drawn.translate(bytes(0x80 | b & 0x7F for b in range(256)))
    out[1::2] = drawn.translate(bytes(b & 0x80 | 0x3C for b in range(256)))
    return bytes(out)


def tensors(C, L, V):
    """(name, shape, what it begins as: None for random)"""
    F = 4 * C
    yield "embeddings.word_embeddings.weight", (V, C), None
    yield "embeddings.position_embeddings.weight", (POSITIONS, C), None
    yield "embeddings.token_type_embeddings.weight", (2, C), None
    yield from norm("embeddings.LayerNorm", C)
    for layer in (f"encoder.layer.{i}." for i in range(L)):
        for name, out, into in (("attention.self.query", C, C), ("attention.self.key", C, C), ("attention.self.value", C, C),
                                ("attention.output.dense", C, C), ("intermediate.dense", F, C), ("output.dense", C, F)):
            yield f"{layer}{name}.weight", (out, into), None
            yield f"{layer}{name}.bias", (out,), 0.0
        yield from norm(layer + "attention.output.LayerNorm", C)
        yield from norm(layer + "output.LayerNorm", C)


def norm(name, C):
    yield name + ".weight", (C,), 1.0
    yield name + ".bias", (C,), 0.0


def write(path, all_tensors):
    header, at = {}, 0
    for name, shape, _ in all_tensors:
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + 2 * count]}
        at += 2 * count
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    source = random.Random(1)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, shape, value in all_tensors:
            count = shape[0] * (shape[1] if len(shape) > 1 else 1)
            file.write(weights(source, count) if value is None else struct.pack("<f", value)[2:] * count)


def main():
    folder, kind = sys.argv[1:3]
    C, H, L = SHAPES[kind]
    L = int(sys.argv[3]) if len(sys.argv) > 3 else L
    fixture = os.path.join(os.path.dirname(__file__), "..", "fixtures", "uncased")
    os.makedirs(folder, exist_ok=True)
    for name in ("vocab.txt", "tokenizer_config.json"):
        shutil.copyfile(os.path.join(fixture, name), os.path.join(folder, name))
    with open(os.path.join(fixture, "config.json")) as file:
        config = json.load(file)
    config.update(hidden_size=C, num_attention_heads=H, intermediate_size=4 * C, num_hidden_layers=L, max_position_embeddings=POSITIONS)
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(config, file, indent=1)
    write(os.path.join(folder, "model.safetensors"), list(tensors(C, L, config["vocab_size"])))


if __name__ == "__main__":
    main()
