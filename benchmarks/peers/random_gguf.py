# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""random_gguf.py CONFIG TYPE OUT: a GGUF file (v3) of a qwen2 model's shape with
random matrices of TYPE (q4_0, or iq4_ks of ik_llama.cpp) and no tokenizer. It is
written as a stream: memory does not grow with the model."""

import json
import os
import struct
import sys

U32, F32, STRING = 4, 6, 8
TYPE_F32 = 0
ALIGNMENT = 32


class MatrixType:
    """A type of matrices: rows of `head`, then blocks of random bytes that begin
    with `scale`."""

    def __init__(self, number, values, size, scale=b"", head=b""):
        self.number, self.values, self.size = number, values, size
        self.scale, self.head = scale, head

    def row_bytes(self, columns):
        if columns % self.values:
            sys.exit(f"a row of {columns} has no whole blocks of {self.values}")
        return len(self.head) + columns // self.values * self.size

    def row(self, columns):
        blocks = bytearray(os.urandom(self.row_bytes(columns) - len(self.head)))
        for i, byte in enumerate(self.scale):
            blocks[i::self.size] = bytes([byte]) * (columns // self.values)
        return self.head + blocks


MATRIX_TYPES = {
    "q4_0": MatrixType(2, 32, 18, scale=struct.pack("<e", 0.005)),
    "iq4_ks": MatrixType(144, 256, 136, head=struct.pack("<f", 5e-6)),
}


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
    """(name, [rows, columns] or [columns]) of each."""
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


def tensor_bytes(shape, matrix):
    return 4 * shape[0] if len(shape) == 1 else shape[0] * matrix.row_bytes(shape[1])


def padding(size):
    return bytes(-size % ALIGNMENT)


def write_tensor(out, shape, matrix):
    if len(shape) == 1:
        out.write(struct.pack("<f", 1.0) * shape[0])
    else:
        for _ in range(shape[0]):
            out.write(matrix.row(shape[1]))
    out.write(padding(tensor_bytes(shape, matrix)))


def main(config_path, type_name, path):
    with open(config_path, encoding="utf-8") as file:
        config = json.load(file)
    if config["model_type"] != "qwen2":
        sys.exit(f"{config_path}: model_type is {config['model_type']}, expected qwen2")
    matrix = MATRIX_TYPES[type_name]
    fields, parts = metadata(config), list(tensors(config))
    head = b"GGUF" + struct.pack("<IQQ", 3, len(parts), len(fields))
    for key, kind, content in fields:
        head += string(key) + struct.pack("<I", kind) + value(kind, content)
    offset = 0
    for name, shape in parts:
        head += string(name) + struct.pack("<I", len(shape))
        head += b"".join(struct.pack("<Q", n) for n in reversed(shape))
        head += struct.pack("<IQ", TYPE_F32 if len(shape) == 1 else matrix.number, offset)
        size = tensor_bytes(shape, matrix)
        offset += size + len(padding(size))
    with open(path + ".part", "wb") as out:
        out.write(head + padding(len(head)))
        for _, shape in parts:
            write_tensor(out, shape, matrix)
    os.rename(path + ".part", path)


if __name__ == "__main__":
    main(*sys.argv[1:])
