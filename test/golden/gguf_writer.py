# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A small writer of GGUF v3 files, enough for the goldens of this folder."""

import struct

import numpy as np

U16, U32, I32, F32, BOOL, STRING, ARRAY = 2, 4, 5, 6, 7, 8, 9
TYPE_F32, TYPE_F16, TYPE_Q8_0, TYPE_BF16 = 0, 1, 8, 30
ALIGNMENT = 32


def _string(text):
    data = text.encode("utf-8")
    return struct.pack("<Q", len(data)) + data


def _value(kind, value):
    if kind == STRING:
        return _string(value)
    if kind == ARRAY:
        element, items = value
        return struct.pack("<IQ", element, len(items)) + b"".join(_value(element, i) for i in items)
    return struct.pack({U16: "<H", U32: "<I", I32: "<i", F32: "<f", BOOL: "<?"}[kind], value)


def _pad(data):
    return data + bytes(-len(data) % ALIGNMENT)


def quantize_q8_0(values):
    """float32 [rows, cols], cols a multiple of 32, to Q8_0 bytes and the values they stand for."""
    blocks = values.astype(np.float32).reshape(-1, 32)
    scale = np.abs(blocks).max(axis=1) / np.float32(127)
    inverse = np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=scale != 0)
    scaled = blocks * inverse[:, None]
    quants = (np.sign(scaled) * np.floor(np.abs(scaled) + np.float32(0.5))).astype(np.int8)
    stored = scale.astype("<f2")
    packed = np.concatenate([stored[:, None].view(np.uint8), quants.view(np.uint8)], axis=1)
    meaning = stored.astype(np.float32)[:, None] * quants.astype(np.float32)
    return packed.tobytes(), meaning.reshape(values.shape)


def encode(values, kind):
    """The bytes of a tensor in one of the TYPE_* encodings."""
    if kind == TYPE_F32:
        return values.astype("<f4").tobytes()
    if kind == TYPE_F16:
        return values.astype("<f2").tobytes()
    if kind == TYPE_BF16:  # Of values that bf16 has.
        return (np.ascontiguousarray(values, "<f4").view("<u4") >> 16).astype("<u2").tobytes()
    return quantize_q8_0(values)[0]


def write(path, metadata, tensors):
    """metadata: [(key, kind, value)]; tensors: [(name, float32 array, TYPE_*)]."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    for key, kind, value in metadata:
        head += _string(key) + struct.pack("<I", kind) + _value(kind, value)
    body = b""
    for name, values, kind in tensors:
        head += _string(name) + struct.pack("<I", values.ndim)
        head += b"".join(struct.pack("<Q", n) for n in reversed(values.shape))
        head += struct.pack("<IQ", kind, len(body))
        body += _pad(encode(values, kind))
    path.write_bytes(_pad(head) + body)
