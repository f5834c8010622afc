# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Checkpoints in the file layout of DeepSeek-V3: FP8 matrices with a scale for each block."""

import json

import torch
from safetensors import safe_open
from safetensors.torch import save_file

BLOCK = 128
# What DeepSeek leaves in bf16.
PLAIN = ("embed_tokens", "lm_head", "norm", "mlp.gate.", "eh_proj")


def quantize(matrix):
    """E4M3 values and the scales that take them back, for blocks of 128 x 128."""
    rows, columns = matrix.shape
    down, across = -(-rows // BLOCK), -(-columns // BLOCK)
    scales = torch.zeros(down, across)
    values = torch.zeros(rows, columns, dtype=torch.float8_e4m3fn)
    for i in range(down):
        for j in range(across):
            at = (slice(i * BLOCK, (i + 1) * BLOCK), slice(j * BLOCK, (j + 1) * BLOCK))
            scales[i, j] = matrix[at].abs().max() / 448
            values[at] = (matrix[at] / scales[i, j]).to(torch.float8_e4m3fn)
    return values, scales


def dequantize(values, scales):
    wide = scales.repeat_interleave(BLOCK, 0).repeat_interleave(BLOCK, 1)
    return values.float() * wide[:values.shape[0], :values.shape[1]]


def load_stored(model, tensors):
    """Gives the model the values that are stored, experts merged as transformers holds them."""
    experts, state = {}, {}
    for name, value in tensors.items():
        if ".experts." not in name:
            state[name] = value
            continue
        prefix, rest = name.split(".experts.")
        number, matrix = rest.split(".")[:2]
        experts.setdefault(prefix, {}).setdefault(int(number), {})[matrix] = value
    for prefix, matrices in experts.items():
        order = [matrices[i] for i in range(len(matrices))]
        state[prefix + ".experts.gate_up_proj"] = torch.stack(
            [torch.cat([m["gate_proj"], m["up_proj"]]) for m in order])
        state[prefix + ".experts.down_proj"] = torch.stack([m["down_proj"] for m in order])
    model.load_state_dict(state)


def rewrite(folder, model):
    """Stores the matrices of a checkpoint in FP8 and gives `model` their values."""
    index_file = folder / "model.safetensors.index.json"
    index = json.loads(index_file.read_text())
    read, places = {}, {}
    for file in sorted(set(index["weight_map"].values())):
        stored = {}
        with safe_open(folder / file, framework="pt") as tensors:
            for name in tensors.keys():
                value = tensors.get_tensor(name)
                read[name] = value.float()
                if value.dim() == 2 and not any(part in name for part in PLAIN):
                    stored[name], stored[name + "_scale_inv"] = quantize(value.float())
                    read[name] = dequantize(stored[name], stored[name + "_scale_inv"])
                else:
                    stored[name] = value
        save_file(stored, folder / file, metadata={"format": "pt"})
        places.update({name: file for name in stored})
    index["weight_map"] = dict(sorted(places.items()))
    index_file.write_text(json.dumps(index, indent=2) + "\n")
    load_stored(model, read)
    config_file = folder / "config.json"
    config = json.loads(config_file.read_text())
    config["quantization_config"] = {"activation_scheme": "dynamic", "fmt": "e4m3",
                                     "quant_method": "fp8", "weight_block_size": [BLOCK, BLOCK]}
    config_file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
