# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""random_gguf.py CONFIG OUT: a GGUF file (v3) of a qwen2 model's shape with random
Q4_0 matrices and no tokenizer. It is written as a stream: memory does not grow
with the model."""

import json
import os
import struct
import sys

U32, F32, STRING = 4, 6, 8
TYPE_F32, TYPE_Q4_0 = 0, 2
ALIGNMENT = 32
BLOCK_VALUES, BLOCK_BYTES = 32, 18
SCALE = struct.pack("<e", 0.005)


def string(text):
    data = text.encode("utf-8")
    return struct.pack("<Q", len(data)) + data


def value(kind, content):
    if kind == STRING:
        return string(content)
    return struct.pack({U32: "<I", F32: "<f"}[kind], content)


def metadata(config):
    heads = config["num_attention_heads"]
    return [
        ("general.architecture", STRING, "qwen2"),
        ("qwen2.block_count", U32, config["num_hidden_layers"]),
        ("qwen2.context_length", U32, config["max_position_embeddings"]),
        ("qwen2.embedding_length", U32, config["hidden_size"]),
        ("qwen2.feed_forward_length", U32, config["intermediate_size"]),
        ("qwen2.attention.head_count", U32, heads),
        ("qwen2.attention.head_count_kv", U32, config["num_key_value_heads"]),
        ("qwen2.attention.layer_norm_rms_epsilon", F32, config["rms_norm_eps"]),
        ("qwen2.rope.freq_base", F32, config["rope_theta"]),
        ("qwen2.vocab_size", U32, config["vocab_size"]),
        ("tokenizer.ggml.model", STRING, "none"),
    ]


def tensors(config):
    """(name, [rows, columns] or [columns]) of each; matrices are Q4_0."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    kv = hidden // config["num_attention_heads"] * config["num_key_value_heads"]
    yield "token_embd.weight", [config["vocab_size"], hidden]
    yield "output_norm.weight", [hidden]
    yield "output.weight", [config["vocab_size"], hidden]
    for layer in range(config["num_hidden_layers"]):
        for part, shape in [
            ("attn_norm.weight", [hidden]),
            ("attn_q.weight", [hidden, hidden]), ("attn_q.bias", [hidden]),
            ("attn_k.weight", [kv, hidden]), ("attn_k.bias", [kv]),
            ("attn_v.weight", [kv, hidden]), ("attn_v.bias", [kv]),
            ("attn_output.weight", [hidden, hidden]),
            ("ffn_norm.weight", [hidden]),
            ("ffn_gate.weight", [inner, hidden]),
            ("ffn_up.weight", [inner, hidden]),
            ("ffn_down.weight", [hidden, inner]),
        ]:
            yield f"blk.{layer}.{part}", shape


def tensor_bytes(shape):
    if len(shape) == 1:
        return 4 * shape[0]
    return shape[0] * shape[1] // BLOCK_VALUES * BLOCK_BYTES


def padding(size):
    return bytes(-size % ALIGNMENT)


def write_tensor(out, shape):
    if len(shape) == 1:
        out.write(struct.pack("<f", 1.0) * shape[0])
    else:
        blocks = shape[0] * shape[1] // BLOCK_VALUES
        while blocks:
            count = min(blocks, 1 << 14)
            chunk = bytearray(os.urandom(count * BLOCK_BYTES))
            chunk[0::BLOCK_BYTES] = SCALE[:1] * count
            chunk[1::BLOCK_BYTES] = SCALE[1:] * count
            out.write(chunk)
            blocks -= count
    out.write(padding(tensor_bytes(shape)))


def main(config_path, path):
    with open(config_path, encoding="utf-8") as file:
        config = json.load(file)
    if config["model_type"] != "qwen2":
        sys.exit(f"{config_path}: model_type is {config['model_type']}, expected qwen2")
    fields, parts = metadata(config), list(tensors(config))
    head = b"GGUF" + struct.pack("<IQQ", 3, len(parts), len(fields))
    for key, kind, content in fields:
        head += string(key) + struct.pack("<I", kind) + value(kind, content)
    offset = 0
    for name, shape in parts:
        head += string(name) + struct.pack("<I", len(shape))
        head += b"".join(struct.pack("<Q", n) for n in reversed(shape))
        head += struct.pack("<IQ", TYPE_F32 if len(shape) == 1 else TYPE_Q4_0, offset)
        offset += tensor_bytes(shape) + len(padding(tensor_bytes(shape)))
    with open(path + ".part", "wb") as out:
        out.write(head + padding(len(head)))
        for _, shape in parts:
            write_tensor(out, shape)
    os.rename(path + ".part", path)


if __name__ == "__main__":
    main(*sys.argv[1:])
