#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Write a checkpoint of random bf16 weights for any dense config.json.

    python models/make_random_checkpoint.py CONFIG OUT_DIR [--seed N] [--tokenizer FILE]

CONFIG is a config.json of architecture qwen2, llama or qwen3. OUT_DIR gets a copy of
it and a model.safetensors; the same seed always gives the same bytes. Tensors are
made and written a slab at a time, so memory stays small at any size. Needs numpy.

Weights are normal around 0 with a standard deviation of 1/sqrt(inputs), for the
matrices that write to the residual stream divided by sqrt(2 layers), so that
activations keep their size through any depth; gains are near 1, biases near 0.
"""

import argparse
import json
import math
import shutil
import struct
import sys
from pathlib import Path

import numpy as np

SLAB = 1 << 22  # values made at a time


def tensors_of(config):
    """[(name, shape, mean, standard deviation)] in the order they are stored."""
    def size(key, default=None):
        value = config.get(key)
        value = default if value is None else value
        if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
            sys.exit(f"config.json: {key} is {value!r}, expected a positive integer")
        return value

    arch = config.get("model_type")
    if arch not in ("qwen2", "llama", "qwen3"):
        sys.exit(f"config.json: model_type is {arch!r}, expected qwen2, llama or qwen3")
    hidden, inner = size("hidden_size"), size("intermediate_size")
    layers, vocab = size("num_hidden_layers"), size("vocab_size")
    heads = size("num_attention_heads")
    kv_heads = size("num_key_value_heads", heads)
    head_dim = size("head_dim", 128 if arch == "qwen3" else hidden // heads)
    query, key = heads * head_dim, kv_heads * head_dim
    attention_bias = arch == "qwen2" or bool(config.get("attention_bias"))
    residual = 1 / math.sqrt(2 * layers)

    def matrix(name, rows, columns, scale=1.0):
        return name + ".weight", (rows, columns), 0.0, scale / math.sqrt(columns)

    def gain(name, length):
        return name + ".weight", (length,), 1.0, 0.02

    def bias(name, length):
        return name + ".bias", (length,), 0.0, 0.02

    out = [("model.embed_tokens.weight", (vocab, hidden), 0.0, 0.02)]
    for i in range(layers):
        at = f"model.layers.{i}."
        out.append(gain(at + "input_layernorm", hidden))
        for name, rows in (("q_proj", query), ("k_proj", key), ("v_proj", key)):
            out.append(matrix(f"{at}self_attn.{name}", rows, hidden))
            if attention_bias:
                out.append(bias(f"{at}self_attn.{name}", rows))
        if arch == "qwen3":
            out.append(gain(at + "self_attn.q_norm", head_dim))
            out.append(gain(at + "self_attn.k_norm", head_dim))
        out.append(matrix(at + "self_attn.o_proj", hidden, query, residual))
        if attention_bias and arch != "qwen2":
            out.append(bias(at + "self_attn.o_proj", hidden))
        out.append(gain(at + "post_attention_layernorm", hidden))
        for name, rows, columns, scale in (("gate_proj", inner, hidden, 1.0), ("up_proj", inner, hidden, 1.0),
                                           ("down_proj", hidden, inner, residual)):
            out.append(matrix(f"{at}mlp.{name}", rows, columns, scale))
            if arch == "llama" and config.get("mlp_bias"):
                out.append(bias(f"{at}mlp.{name}", rows))
    out.append(gain("model.norm", hidden))
    if not config.get("tie_word_embeddings", False):
        out.append(matrix("lm_head", vocab, hidden))
    return out


def bf16_bytes(values):
    """float32 to bfloat16, to the nearest, ties to even."""
    bits = values.view(np.uint32)
    bits += 0x7FFF + ((bits >> 16) & 1)
    return (bits >> 16).astype("<u2").tobytes()


def write_checkpoint(path, tensors, seed):
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, shape, _, _ in tensors:
        begin, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    partial = path.with_suffix(".partial")
    with open(partial, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for index, (_, shape, mean, deviation) in enumerate(tensors):
            random = np.random.Generator(np.random.SFC64([seed, index]))
            left = math.prod(shape)
            while left:
                values = random.standard_normal(min(left, SLAB), dtype=np.float32)
                values *= np.float32(deviation)
                values += np.float32(mean)
                file.write(bf16_bytes(values))
                left -= values.size
    partial.rename(path)
    return 8 + len(text) + end


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path, help="a config.json")
    parser.add_argument("out", type=Path, help="the folder to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tokenizer", type=Path, help="a tokenizer.json to copy into the folder")
    args = parser.parse_args()
    tensors = tensors_of(json.loads(args.config.read_text(encoding="utf-8")))
    args.out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(args.config, args.out / "config.json")
    if args.tokenizer:
        shutil.copyfile(args.tokenizer, args.out / "tokenizer.json")
    size = write_checkpoint(args.out / "model.safetensors", tensors, args.seed)
    print(f"{args.out}: {len(tensors)} tensors, {sum(math.prod(s) for _, s, _, _ in tensors):,} parameters, {size:,} bytes")


if __name__ == "__main__":
    main()
