# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes and reads deepseek_v3.Model as a Hugging Face folder laid out as DeepSeek-R1's is.

Two shards and an index; linear weights in F8_E4M3, each X with its X_scale_inv; the MTP layer
stored as the layer after the last, with its own copies of the embedding and the head.
"""

import json

import torch
from safetensors.torch import load_file, save_file

import block_fp8
from deepseek_v3 import Model

FP8, BF16, F32 = torch.float8_e4m3fn, torch.bfloat16, torch.float32


def attention(at, module):
    for name in ("q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"):
        yield f"{at}{name}.weight", getattr(module, name).weight, FP8
    for name in ("q_a_layernorm", "kv_a_layernorm"):
        yield f"{at}{name}.weight", getattr(module, name).weight, BF16


def feed_forward(at, module):
    for name in ("gate_proj", "up_proj", "down_proj"):
        yield f"{at}{name}.weight", getattr(module, name).weight, FP8


def mixture(at, module):
    yield f"{at}gate.weight", module.router, BF16
    yield f"{at}gate.e_score_correction_bias", module.correction, F32
    for expert, (gate_up, down) in enumerate(zip(module.gate_up, module.down)):
        yield f"{at}experts.{expert}.gate_proj.weight", gate_up[0], FP8
        yield f"{at}experts.{expert}.up_proj.weight", gate_up[1], FP8
        yield f"{at}experts.{expert}.down_proj.weight", down, FP8
    yield from feed_forward(f"{at}shared_experts.", module.shared)


def decoder_layer(at, module):
    for name in ("input_layernorm", "post_attention_layernorm"):
        yield f"{at}{name}.weight", getattr(module, name).weight, BF16
    yield from attention(f"{at}self_attn.", module.self_attn)
    yield from (mixture if hasattr(module.mlp, "router") else feed_forward)(f"{at}mlp.", module.mlp)


def entries(model):
    """(name, tensor, stored type) of every weight; the tensors share the model's memory."""
    yield "model.embed_tokens.weight", model.embed_tokens, BF16
    for index, module in enumerate(model.layers):
        yield from decoder_layer(f"model.layers.{index}.", module)
    yield "model.norm.weight", model.norm.weight, BF16
    yield "lm_head.weight", model.lm_head.weight, BF16
    at, draft = f"model.layers.{len(model.layers)}.", model.draft
    yield f"{at}embed_tokens.weight", model.embed_tokens, BF16
    yield f"{at}enorm.weight", draft.enorm.weight, BF16
    yield f"{at}hnorm.weight", draft.hnorm.weight, BF16
    yield f"{at}eh_proj.weight", draft.eh_proj.weight, BF16
    yield from decoder_layer(at, draft.layer)
    yield f"{at}shared_head.norm.weight", draft.norm.weight, BF16
    yield f"{at}shared_head.head.weight", model.lm_head.weight, BF16


@torch.no_grad()
def tensors(model):
    """What the checkpoint holds, by name, in the order of the layers."""
    out = {}
    for name, tensor, stored in entries(model):
        # Copies: a shard may not hold two tensors that share memory.
        if stored is FP8:
            out[name], out[f"{name}_scale_inv"] = block_fp8.quantize(tensor.detach().clone())
        else:
            out[name] = tensor.detach().to(stored, copy=True)
    return {name: tensor.contiguous() for name, tensor in out.items()}


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write(folder, model, config, shards=2):
    """The same weights always give the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config)
    held = tensors(model)
    total = sum(t.nbytes for t in held.values())
    parts, filled = [{} for _ in range(shards)], 0
    for name, tensor in held.items():
        parts[min(shards - 1, filled * shards // total)][name] = tensor
        filled += tensor.nbytes
    places = {}
    for index, part in enumerate(parts):
        file = f"model-{index + 1:05}-of-{shards:06}.safetensors"
        save_file(part, folder / file, metadata={"format": "pt"})
        (folder / file).chmod(0o644)
        places.update(dict.fromkeys(part, file))
    write_json(folder / "model.safetensors.index.json",
               {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))})


def dequantized(folder):
    """Every weight of the folder in float32, by name, without the scales."""
    index = json.loads((folder / "model.safetensors.index.json").read_text(encoding="utf-8"))
    held = {}
    for file in sorted(set(index["weight_map"].values())):
        held.update(load_file(folder / file))
    return {name: block_fp8.dequantize(tensor, held[f"{name}_scale_inv"])
            if f"{name}_scale_inv" in held else tensor.float()
            for name, tensor in held.items() if not name.endswith("_scale_inv")}


@torch.no_grad()
def read(folder):
    """The model with the stored, dequantised weights."""
    model = Model(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    held = dequantized(folder)
    for name, tensor, _ in entries(model):
        tensor.copy_(held[name])
    return model.eval()
