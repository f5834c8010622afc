#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Write the golden cases of this folder with Hugging Face transformers.

Each case is a small random checkpoint in an awkward shape and what transformers
computes with it on a CPU in float32: logits of chosen positions and 64 greedy
tokens. README.md beside this file describes the format.

    python test/golden/make_goldens.py [CASE...]

Needs torch, transformers (5.x) and safetensors.
"""

import copy
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from transformers import (AutoModelForCausalLM, DeepseekV3Config, DeepseekV3ForCausalLM, LlamaConfig,
                          LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config,
                          Qwen3ForCausalLM)
from transformers.utils import logging

import gguf_writer as gguf
import fp8_writer as fp8

HERE = Path(__file__).resolve().parent
GREEDY = 64
# Below this relative gap between the two largest logits, rounding could choose the token.
LEAST_MARGIN = 2e-3

CLASSES = {"qwen2": (Qwen2Config, Qwen2ForCausalLM), "llama": (LlamaConfig, LlamaForCausalLM),
           "qwen3": (Qwen3Config, Qwen3ForCausalLM),
           "deepseek_v3": (DeepseekV3Config, DeepseekV3ForCausalLM)}

LLAMA3 = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
          "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0,
        "original_max_position_embeddings": 512}
YARN_EXPLICIT = {"rope_type": "yarn", "rope_theta": 5000.0, "factor": 2.0,
                 "original_max_position_embeddings": 256, "attention_factor": 0.9}

YARN_MSCALE = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 8.0, "beta_fast": 32,
               "beta_slow": 1, "mscale": 1.0, "mscale_all_dim": 1.0,
               "original_max_position_embeddings": 64}
YARN_UNEQUAL = dict(YARN_MSCALE, mscale=1.3, mscale_all_dim=0.7)
# Below this gap of two scores, rounding could choose another expert.
LEAST_ROUTING_MARGIN = 2e-5


def plain(theta):
    return {"rope_type": "default", "rope_theta": theta}


# spelling: "new" keeps rope_parameters and dtype as transformers 5 writes them, "classic" has
# rope_theta, rope_scaling and torch_dtype, "type" besides says rope_scaling.type.
CASES = {
    "qwen2-hd80-g1": dict(
        arch="qwen2", hidden=160, ffn=90, heads=2, kv=2, head_dim=None, vocab=203, tied=False,
        rope=plain(10000.0), eps=1e-6, dtype="bfloat16", spelling="new"),
    "qwen2-hd64-g3-tied": dict(
        arch="qwen2", hidden=192, ffn=50, heads=3, kv=1, head_dim=None, vocab=277, tied=True,
        rope=plain(1000000.0), eps=1e-5, dtype="float16", spelling="classic"),
    "qwen2-hd64-g7-sharded": dict(
        arch="qwen2", hidden=54, ffn=70, heads=7, kv=1, head_dim=64, vocab=197, tied=False,
        rope=plain(10000.0), eps=1e-6, dtype="float32", spelling="classic", shard="340KB"),
    "llama-hd64-g3-llama3": dict(
        arch="llama", hidden=96, ffn=64, heads=3, kv=1, head_dim=64, vocab=269, tied=False,
        rope=LLAMA3, eps=1e-5, dtype="float32", spelling="classic"),
    "llama-hd128-g7-tied": dict(
        arch="llama", hidden=56, ffn=75, heads=7, kv=1, head_dim=128, vocab=229, tied=True,
        rope=plain(500000.0), eps=1e-5, dtype="bfloat16", spelling="new"),
    "llama-hd80-g1": dict(
        arch="llama", hidden=90, ffn=71, heads=2, kv=2, head_dim=80, vocab=251, tied=False,
        rope=plain(10000.0), eps=1e-6, dtype="float16", spelling="classic"),
    "qwen3-hd128-g3-yarn": dict(
        arch="qwen3", hidden=60, ffn=77, heads=3, kv=1, head_dim=128, vocab=233, tied=False,
        rope=YARN, eps=1e-6, dtype="float32", spelling="new"),
    "qwen3-hd80-g7-tied": dict(
        arch="qwen3", hidden=70, ffn=45, heads=7, kv=1, head_dim=80, vocab=211, tied=True,
        rope=YARN_EXPLICIT, eps=1e-6, dtype="bfloat16", spelling="type"),
    "deepseek-g2-dense2-yarn": dict(
        arch="deepseek_v3", hidden=60, ffn=70, heads=3, kv=3, head_dim=None, vocab=223, tied=False,
        rope=YARN_MSCALE, eps=1e-5, dtype="bfloat16", spelling="type", layers=4, extra=dict(
            q_lora_rank=44, kv_lora_rank=24, qk_nope_head_dim=20, qk_rope_head_dim=12, v_head_dim=28,
            n_routed_experts=8, num_experts_per_tok=3, n_group=2, topk_group=1, n_shared_experts=2,
            moe_intermediate_size=20, first_k_dense_replace=2, routed_scaling_factor=2.5)),
    "deepseek-g8-noqlora": dict(
        arch="deepseek_v3", hidden=72, ffn=70, heads=5, kv=5, head_dim=None, vocab=191, tied=False,
        rope=plain(5000.0), eps=1e-6, dtype="float32", spelling="new", layers=2, extra=dict(
            q_lora_rank=None, kv_lora_rank=40, qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=12,
            n_routed_experts=16, num_experts_per_tok=5, n_group=8, topk_group=4, n_shared_experts=1,
            moe_intermediate_size=24, first_k_dense_replace=0, routed_scaling_factor=0.8,
            norm_topk_prob=False, rope_interleave=False)),
    "deepseek-g4-fp8": dict(
        arch="deepseek_v3", hidden=136, ffn=144, heads=2, kv=2, head_dim=None, vocab=181, tied=False,
        rope=YARN_UNEQUAL, eps=1e-6, dtype="bfloat16", spelling="type", layers=3, fp8=True,
        shard="250KB", extra=dict(
            q_lora_rank=48, kv_lora_rank=48, qk_nope_head_dim=32, qk_rope_head_dim=16, v_head_dim=32,
            n_routed_experts=8, num_experts_per_tok=2, n_group=4, topk_group=2, n_shared_experts=1,
            moe_intermediate_size=32, first_k_dense_replace=1, routed_scaling_factor=2.5)),
}


def make_model(case, seed):
    config_class, model_class = CLASSES[case["arch"]]
    rope = case["rope"]
    length = int(rope.get("factor", 1) * rope.get("original_max_position_embeddings", 2048))
    extra = {"head_dim": case["head_dim"]} if case["head_dim"] else {}
    extra.update(case.get("extra", {}))
    config = config_class(
        vocab_size=case["vocab"], hidden_size=case["hidden"], intermediate_size=case["ffn"],
        num_hidden_layers=case.get("layers", 2), num_attention_heads=case["heads"], num_key_value_heads=case["kv"],
        max_position_embeddings=max(length, 512), rms_norm_eps=case["eps"], rope_parameters=rope,
        tie_word_embeddings=case["tied"], bos_token_id=1, eos_token_id=2, pad_token_id=None, **extra)
    model = model_class(config)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("norm.weight"):
                p.copy_(torch.empty(p.shape).uniform_(0.5, 1.5, generator=random))
            elif name.endswith(".bias"):
                p.copy_(torch.randn(p.shape, generator=random) * 0.5)
            elif ".experts." in name:
                # An expert that rounding exchanges for another must not show in bf16.
                gain = 0.2 if "down" in name else 1.5
                p.copy_(torch.randn(p.shape, generator=random) * gain / p.shape[-1] ** 0.5)
            else:
                # Branches outweigh the embedding, scores spread: attention decides the logits.
                gain = {"embed": 0.3 * p.shape[1] ** 0.5, "q_pro": 1.6, "k_pro": 1.6, "v_pro": 2.0,
                        "o_pro": 2.0, "down_": 3.0,
                        "q_b_p": 1.1, "kv_b_": 1.4}.get(name.split(".")[-2][:5], 1.5)
                p.copy_(torch.randn(p.shape, generator=random) * gain / p.shape[1] ** 0.5)
        for name, p in model.named_buffers():
            if name.endswith("e_score_correction_bias"):
                p.copy_(torch.rand(p.shape, generator=random) * 0.4)
    return model


def spell_config(path, spelling, dtype):
    config = json.loads(path.read_text())
    config.pop("transformers_version", None)
    if spelling != "new":
        rope = config.pop("rope_parameters")
        config["rope_theta"] = rope.pop("rope_theta")
        config["rope_scaling"] = None if rope["rope_type"] == "default" else rope
        if spelling == "type":
            rope["type"] = rope.pop("rope_type")
        config.pop("dtype")
        config["torch_dtype"] = dtype
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def prompts_of(vocab, seed):
    random = np.random.default_rng(seed)
    return [random.integers(3, vocab, n).tolist() for n in (1, 17, 300)]


def rows_of(length):
    return list(range(length)) if length <= 17 else sorted({*range(0, length, 37), length - 1})


@torch.no_grad()
def greedy(model, ids):
    """64 greedy tokens and the smallest gap of the two best logits over the row's magnitude."""
    out, margin, cache, step = [], float("inf"), None, torch.tensor([ids])
    for _ in range(GREEDY):
        result = model(input_ids=step, past_key_values=cache, use_cache=True)
        cache, row = result.past_key_values, result.logits[0, -1]
        best = row.topk(2)
        margin = min(margin, ((best.values[0] - best.values[1]) / row.abs().max()).item())
        out.append(int(best.indices[0]))
        step = best.indices[:1][None]
    return out, margin


@torch.no_grad()
def measure(model, prompts):
    entries, values, offset, least = [], [], 0, float("inf")
    for ids in prompts:
        rows = rows_of(len(ids))
        logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, rows].numpy()
        following, margin = greedy(model, ids)
        least = min(least, margin)
        entries.append({"ids": ids, "rows": rows, "offset": offset, "greedy": following})
        values.append(logits.astype("<f4").ravel())
        offset += logits.size
    return entries, np.concatenate(values), least


def write_golden(folder, model_path, vocab, measured, logits_file="golden.bin", note=None):
    entries, values, margin = measured
    golden = {"model": model_path, "vocab_size": vocab, "logits": logits_file,
              "least_margin": round(margin, 6)}
    if note:
        golden["note"] = note
    lines = [f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in golden.items()]
    body = ",\n".join("    " + json.dumps(e, separators=(",", ":")) for e in entries)
    lines.append(f'  "prompts": [\n{body}\n  ]')
    (folder / "golden.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    if logits_file == "golden.bin":
        (folder / "golden.bin").write_bytes(values.tobytes())


def fresh(name):
    folder = HERE / name
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    return folder


class RoutingMargin:
    """The least gap, over all tokens, by which experts and groups are chosen."""

    def __init__(self, model):
        self.least = float("inf")
        for module in model.modules():
            if type(module).__name__ == "DeepseekV3TopkRouter":
                module.register_forward_hook(self.see)

    def see(self, router, inputs, outputs):
        choice = outputs[0].sigmoid() + router.e_score_correction_bias
        groups = choice.view(len(choice), router.num_group, -1)
        scores = groups.topk(2, dim=-1)[0].sum(dim=-1)
        self.gap(scores, router.topk_group)
        best = scores.topk(router.topk_group, dim=-1)[1]
        kept = torch.zeros_like(scores, dtype=torch.bool).scatter(1, best, True)
        masked = groups.masked_fill(~kept[..., None], float("-inf"))
        self.gap(masked.reshape(len(choice), -1), router.top_k)

    def gap(self, values, count):
        if count < values.shape[1]:
            ordered = values.sort(dim=-1, descending=True)[0]
            self.least = min(self.least, (ordered[:, count - 1] - ordered[:, count]).min().item())


def make_case(name, case):
    dtype = getattr(torch, case["dtype"])
    for seed in range(1, 200):
        folder = fresh(name)
        make_model(case, seed).to(dtype).save_pretrained(folder, max_shard_size=case.get("shard", "50GB"))
        (folder / "generation_config.json").unlink(missing_ok=True)
        spell_config(folder / "config.json", case["spelling"], case["dtype"])
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        model.config._experts_implementation = "eager"  # The others know no float64.
        if case.get("fp8"):
            fp8.rewrite(folder, model)
        routing = RoutingMargin(model)
        measured = measure(model, prompts_of(case["vocab"], seed))
        if measured[2] > LEAST_MARGIN and routing.least > LEAST_ROUTING_MARGIN:
            break
    else:
        sys.exit(f"{name}: no seed leaves a margin of {LEAST_MARGIN}")
    note = None
    scaling = getattr(model.model.rotary_emb, "attention_scaling", 1.0)
    if scaling != 1.0:
        note = f"cos and sin are multiplied by {scaling!r}"
    write_golden(folder, ".", case["vocab"], measured, note=note)
    double = copy.deepcopy(model).double()
    exact = measure(double, prompts_of(case["vocab"], seed))
    rows = measured[1].reshape(-1, case["vocab"])
    apart = np.abs(rows - exact[1].reshape(rows.shape)).max(axis=1) / np.abs(rows).max(axis=1)
    distinct = [len(set(e["greedy"])) for e in measured[0]]
    print(f"{name}: seed {seed}, margin {measured[2]:.4f}, float64 apart {apart.max():.1e}, "
          f"logits std {rows.std():.2f} max {np.abs(rows).max():.1f}, distinct greedy {distinct}, "
          f"same greedy in float64: {[e['greedy'] for e in exact[0]] == [e['greedy'] for e in measured[0]]}")
    return model, measured, seed


# GGUF variants

def permute_heads(values, heads):
    """Rows of q and k as arch "llama" stores them: halves of a head interleaved."""
    rest = values.shape[1:]
    return values.reshape(heads, 2, -1, *rest).swapaxes(1, 2).reshape(values.shape)


def gguf_name(name):
    whole = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
             "lm_head.weight": "output.weight"}
    if name in whole:
        return whole[name]
    part = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "q_proj": "attn_q",
            "k_proj": "attn_k", "v_proj": "attn_v", "o_proj": "attn_output", "gate_proj": "ffn_gate",
            "up_proj": "ffn_up", "down_proj": "ffn_down"}
    pieces = name.split(".")
    return f"blk.{pieces[2]}.{part[pieces[-2]]}.{pieces[-1]}"


def gguf_metadata(case, config):
    arch = case["arch"]
    head_dim = case["head_dim"] or case["hidden"] // case["heads"]
    plain_bytes = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    tokens = [chr(b) for b in plain_bytes] + [chr(0x100 + i) for i in range(256 - len(plain_bytes))]
    merges = ["t h", "th e", "a n", "an d"]
    tokens += [m.replace(" ", "") for m in merges]
    kinds = [1] * len(tokens)
    bos = len(tokens)
    tokens += ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>",
               "<think>", "</think>"]
    kinds += [3, 3, 3, 3, 4, 4]
    while len(tokens) < case["vocab"]:
        tokens.append(f"[PAD{len(tokens)}]")
        kinds.append(1)  # Not 5, unused: the reference answers with these too.
    metadata = [
        ("general.architecture", gguf.STRING, arch), ("general.name", gguf.STRING, "golden"),
        (f"{arch}.block_count", gguf.U32, 2),
        (f"{arch}.context_length", gguf.U32, config.max_position_embeddings),
        (f"{arch}.embedding_length", gguf.U32, case["hidden"]),
        (f"{arch}.feed_forward_length", gguf.U32, case["ffn"]),
        (f"{arch}.attention.head_count", gguf.U32, case["heads"]),
        (f"{arch}.attention.head_count_kv", gguf.U32, case["kv"]),
        (f"{arch}.attention.layer_norm_rms_epsilon", gguf.F32, case["eps"]),
        (f"{arch}.rope.freq_base", gguf.F32, case["rope"]["rope_theta"])]
    if case["head_dim"]:
        metadata += [(f"{arch}.attention.key_length", gguf.U32, head_dim),
                     (f"{arch}.attention.value_length", gguf.U32, head_dim)]
    if arch == "llama":
        metadata += [("llama.rope.dimension_count", gguf.U32, head_dim),
                     ("llama.vocab_size", gguf.U32, case["vocab"])]
    return metadata + [
        ("general.quantization_version", gguf.U32, 2),
        ("tokenizer.ggml.model", gguf.STRING, "gpt2"),
        ("tokenizer.ggml.pre", gguf.STRING, "llama-bpe" if arch == "llama" else "deepseek-r1-qwen"),
        ("tokenizer.ggml.tokens", gguf.ARRAY, (gguf.STRING, tokens)),
        ("tokenizer.ggml.token_type", gguf.ARRAY, (gguf.I32, kinds)),
        ("tokenizer.ggml.merges", gguf.ARRAY, (gguf.STRING, merges)),
        ("tokenizer.ggml.bos_token_id", gguf.U32, bos),
        ("tokenizer.ggml.eos_token_id", gguf.U32, bos + 1),
        ("tokenizer.ggml.padding_token_id", gguf.U32, bos + 1),
        ("tokenizer.ggml.add_bos_token", gguf.BOOL, True),
        ("tokenizer.ggml.add_eos_token", gguf.BOOL, False)]


def gguf_tensors(case, model, matrix_type):
    """GGUF tensors in one type for matrices (F16 where Q8_0's block does not divide a row)."""
    tensors = []
    if case["rope"]["rope_type"] == "llama3":
        rotary = model.model.rotary_emb
        dims = 2 * rotary.inv_freq.numel()
        base = case["rope"]["rope_theta"] ** (-torch.arange(0, dims, 2).double() / dims)
        tensors.append(("rope_freqs.weight", (base / rotary.inv_freq.double()).float().numpy(), gguf.TYPE_F32))
    for name, value in model.state_dict().items():
        if name == "lm_head.weight" and case["tied"]:
            continue
        values = value.float().numpy()
        if case["arch"] == "llama" and ".q_proj." in name:
            values = permute_heads(values, case["heads"])
        if case["arch"] == "llama" and ".k_proj." in name:
            values = permute_heads(values, case["kv"])
        kind = gguf.TYPE_F32 if values.ndim == 1 else matrix_type
        if kind == gguf.TYPE_Q8_0 and values.shape[1] % 32:
            kind = gguf.TYPE_F16
        tensors.append((gguf_name(name), values, kind))
    return tensors


def dequantised(case, model):
    """The model whose matrices hold what their Q8_0 (or F16) form stands for."""
    state = {}
    for name, value in model.state_dict().items():
        values = value.float().numpy()
        if values.ndim == 2:
            values = (values.astype(np.float16).astype(np.float32) if values.shape[1] % 32
                      else gguf.quantize_q8_0(values)[1])
        state[name] = torch.from_numpy(values.copy())
    model.load_state_dict(state)
    return model


def write_split(folder, metadata, tensors, parts):
    """Part 1 has the model's metadata; every part says which it is."""
    each = -(-len(tensors) // parts)
    for part in range(parts):
        own = metadata if part == 0 else []
        own = own + [("split.no", gguf.U16, part), ("split.count", gguf.U16, parts),
                     ("split.tensors.count", gguf.I32, len(tensors))]
        gguf.write(folder / f"model-{part + 1:05}-of-{parts:05}.gguf", own,
                   tensors[part * each:(part + 1) * each])


def make_gguf_variants(name, case, model, measured, seed):
    exact, exact_name, file_type = ((gguf.TYPE_F16, "f16", 1) if case["dtype"] == "float16"
                                    else (gguf.TYPE_F32, "f32", 0))
    metadata = gguf_metadata(case, model.config)
    folder = fresh(f"{name}-gguf-{exact_name}")
    gguf.write(folder / "model.gguf", metadata + [("general.file_type", gguf.U32, file_type)],
               gguf_tensors(case, model, exact))
    write_golden(folder, "model.gguf", case["vocab"], measured, f"../{name}/golden.bin")

    split = case["arch"] == "llama"
    metadata = metadata + [("general.file_type", gguf.U32, 7)]
    tensors = gguf_tensors(case, model, gguf.TYPE_Q8_0)
    model = dequantised(case, model)
    # The checkpoint is given here, so it is the prompts that look for a margin.
    for prompt_seed in range(seed, seed + 200):
        measured = measure(model, prompts_of(case["vocab"], prompt_seed))
        if measured[2] > LEAST_MARGIN:
            break
    else:
        sys.exit(f"{name}: no prompts leave a margin of {LEAST_MARGIN} in Q8_0")
    folder = fresh(f"{name}-gguf-q8_0")
    if split:
        write_split(folder, metadata, tensors, 2)
    else:
        gguf.write(folder / "model.gguf", metadata, tensors)
    write_golden(folder, "model-00001-of-00002.gguf" if split else "model.gguf", case["vocab"], measured)
    print(f"{name}-gguf-q8_0: margin {measured[2]:.4f}")


def deepseek_metadata(case, config):
    """Keys of architecture "deepseek2" as converters write them, with those of groups."""
    extra, a = case["extra"], "deepseek2"
    key = extra["qk_nope_head_dim"] + extra["qk_rope_head_dim"]
    rope = case["rope"]
    numbers = {
        "block_count": case["layers"], "context_length": config.max_position_embeddings,
        "embedding_length": case["hidden"], "feed_forward_length": case["ffn"],
        "attention.head_count": case["heads"], "attention.head_count_kv": 1,
        "attention.key_length": extra["kv_lora_rank"] + extra["qk_rope_head_dim"],
        "attention.value_length": extra["kv_lora_rank"], "attention.key_length_mla": key,
        "attention.value_length_mla": extra["v_head_dim"],
        "attention.q_lora_rank": extra["q_lora_rank"],
        "attention.kv_lora_rank": extra["kv_lora_rank"],
        "rope.dimension_count": extra["qk_rope_head_dim"], "vocab_size": case["vocab"],
        "leading_dense_block_count": extra["first_k_dense_replace"],
        "expert_count": extra["n_routed_experts"],
        "expert_used_count": extra["num_experts_per_tok"],
        "expert_shared_count": extra["n_shared_experts"],
        "expert_feed_forward_length": extra["moe_intermediate_size"], "expert_gating_func": 2,
        "expert_group_count": extra["n_group"], "expert_group_used_count": extra["topk_group"],
        "rope.scaling.original_context_length": rope["original_max_position_embeddings"]}
    reals = {"attention.layer_norm_rms_epsilon": case["eps"], "rope.freq_base": rope["rope_theta"],
             "expert_weights_scale": extra["routed_scaling_factor"],
             "rope.scaling.factor": rope["factor"],
             "rope.scaling.yarn_log_multiplier": 0.1 * rope["mscale_all_dim"]}
    return ([("general.architecture", gguf.STRING, a), ("general.file_type", gguf.U32, 32),
             (f"{a}.rope.scaling.type", gguf.STRING, "yarn"),
             (f"{a}.expert_weights_norm", gguf.BOOL, True)]
            + [(f"{a}.{k}", gguf.U32, v) for k, v in numbers.items()]
            + [(f"{a}.{k}", gguf.F32, v) for k, v in reals.items()])


DEEPSEEK_NAMES = {
    "q_a_proj": "attn_q_a", "q_a_layernorm": "attn_q_a_norm", "q_b_proj": "attn_q_b",
    "kv_a_proj_with_mqa": "attn_kv_a_mqa", "kv_a_layernorm": "attn_kv_a_norm",
    "kv_b_proj": "attn_kv_b", "o_proj": "attn_output", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm", "gate": "ffn_gate_inp"}


def deepseek_tensors(case, model, heads_as):
    """Matrices in BF16. heads_as says how kv_b is stored: "split", as the transposed k_b and v_b, "all", as
    these and the whole; "old" files have the whole alone, and experts one by one."""
    extra, inner, tensors = case["extra"], case["extra"]["moe_intermediate_size"], []
    key, value = extra["qk_nope_head_dim"], extra["v_head_dim"]

    def put(name, values):
        plain = values.ndim == 1 or "ffn_gate_inp" in name
        tensors.append((name, values, gguf.TYPE_F32 if plain else gguf.TYPE_BF16))

    def put_experts(name, values):
        if heads_as != "old":
            put(f"{name}_exps.weight", values)
            return
        for expert, matrix in enumerate(values):
            put(f"{name}.{expert}.weight", matrix)

    for name, tensor in model.state_dict().items():
        values = tensor.float().numpy()
        parts = name.split(".")
        if parts[1] != "layers":
            put(gguf_name(name), values)
            continue
        block, last = f"blk.{parts[2]}.", parts[-2]
        if name.endswith("experts.gate_up_proj"):
            put_experts(block + "ffn_gate", values[:, :inner])
            put_experts(block + "ffn_up", values[:, inner:])
        elif name.endswith("experts.down_proj"):
            put_experts(block + "ffn_down", values)
        elif name.endswith("e_score_correction_bias"):
            put(block + "exp_probs_b.bias", values)
        elif last == "kv_b_proj":
            heads = values.reshape(case["heads"], key + value, -1)
            k, v = heads[:, :key].swapaxes(1, 2), heads[:, key:]
            if heads_as != "split":
                put(block + "attn_kv_b.weight", values)
                k, v = k.reshape(-1, key), v.reshape(-1, v.shape[2])
            if heads_as != "old":
                put(block + "attn_k_b.weight", k)
                put(block + "attn_v_b.weight", v)
        elif "shared_experts" in name:
            put(block + f"ffn_{last[:-5]}_shexp.weight", values)
        else:
            put(block + DEEPSEEK_NAMES.get(last, f"ffn_{last[:-5]}") + ".weight", values)
    return tensors


def make_deepseek_gguf(name, case, model, measured):
    for heads_as in ("split", "all", "old"):
        folder = fresh(f"{name}-gguf-kvb-{heads_as}")
        gguf.write(folder / "model.gguf", deepseek_metadata(case, model.config),
                   deepseek_tensors(case, model, heads_as))
        write_golden(folder, "model.gguf", case["vocab"], measured, f"../{name}/golden.bin")


def main():
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    for name, case in CASES.items():
        if len(sys.argv) > 1 and name not in sys.argv[1:]:
            continue
        made = make_case(name, case)
        if name in ("qwen2-hd64-g3-tied", "llama-hd64-g3-llama3"):
            make_gguf_variants(name, case, *made)
        if name == "deepseek-g2-dense2-yarn":
            make_deepseek_gguf(name, case, *made[:2])


if __name__ == "__main__":
    main()
