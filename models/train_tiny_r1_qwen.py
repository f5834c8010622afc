#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Train models/tiny-r1-qwen: a tiny `qwen2` model that reasons about sums.

    python models/train_tiny_r1_qwen.py                              # train, write, score
    python models/train_tiny_r1_qwen.py --eval                       # score the folder again
    python models/train_tiny_r1_qwen.py --resume --answers FILE      # train on what tiny-r1 wrote

FILE is made by `train_tiny_r1.py --write-answers FILE`; each answer is seen once.  The printed
score is the greedy one, of the weights as stored (bf16) computed in float32.

Needs torch, transformers (5.x) and tokenizers.
"""

import argparse
import json
import math
import random
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import Qwen2Config, Qwen2ForCausalLM

import arithmetic
import chat_tokenizer
import conversations

HERE = Path(__file__).resolve().parent


def make_config(tokenizer, args):
    return Qwen2Config(
        vocab_size=chat_tokenizer.VOCAB_ROWS, hidden_size=args.hidden, intermediate_size=args.intermediate,
        num_hidden_layers=args.layers, num_attention_heads=args.hidden // 32,
        num_key_value_heads=args.kv_heads, max_position_embeddings=2048, rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=False, use_sliding_window=False, attention_dropout=0.0,
        bos_token_id=tokenizer.token_to_id(chat_tokenizer.BOS), eos_token_id=tokenizer.token_to_id(chat_tokenizer.EOS),
        pad_token_id=None, initializer_range=0.02)


def bf16_state(model):
    return {name: tensor.detach().to(torch.bfloat16).contiguous()
            for name, tensor in model.state_dict().items()}


def save(folder, model, tokenizer):
    from safetensors.torch import save_file
    folder.mkdir(parents=True, exist_ok=True)
    c = model.config
    config = {
        "architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0,
        "bos_token_id": c.bos_token_id, "eos_token_id": c.eos_token_id, "hidden_act": "silu",
        "hidden_size": c.hidden_size, "initializer_range": 0.02,
        "intermediate_size": c.intermediate_size,
        "max_position_embeddings": c.max_position_embeddings, "max_window_layers": c.num_hidden_layers,
        "model_type": "qwen2", "num_attention_heads": c.num_attention_heads,
        "num_hidden_layers": c.num_hidden_layers, "num_key_value_heads": c.num_key_value_heads,
        "rms_norm_eps": 1e-06, "rope_theta": 10000, "sliding_window": 4096,
        "tie_word_embeddings": False, "torch_dtype": "bfloat16", "use_cache": True,
        "use_sliding_window": False, "vocab_size": c.vocab_size}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    chat_tokenizer.write(folder, tokenizer)
    save_file(bf16_state(model), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)


@torch.no_grad()
def forced_score(model, batch):
    """Share of replies whose every token is the most likely one (teacher forced)."""
    ids, labels = batch
    best = model(input_ids=ids, use_cache=False).logits[:, :-1].argmax(-1)
    want = labels[:, 1:]
    return ((best == want) | (want == -100)).all(-1).float().mean().item()


@torch.no_grad()
def evaluate(folder, show):
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    model = Qwen2ForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).float().eval()

    def step(ids, cache):
        out = model(input_ids=ids, past_key_values=cache, use_cache=True)
        return out.logits[:, -1], out.past_key_values

    problems = arithmetic.read_heldout()
    prompts = [conversations.encode_prompt(tokenizer, p["prompt"]) for p in problems]
    replies = conversations.greedy_replies(step, tokenizer, prompts)
    right = conversations.count_right(tokenizer, problems, replies, show)
    print(f"held-out accuracy (greedy, bf16 weights): {right}/{len(problems)} = {right / len(problems):.1%}")


def train(args):
    torch.manual_seed(args.seed)
    tokenizer = chat_tokenizer.build_tokenizer()
    # Written-out attention: under CPU autocast it trains faster than the fused one.
    if args.resume:
        model = Qwen2ForCausalLM.from_pretrained(args.out, dtype=torch.bfloat16,
                                                 attn_implementation="eager").float().train()
    else:
        model = Qwen2ForCausalLM._from_config(make_config(tokenizer, args), attn_implementation="eager")
        # The residual branches start smaller with depth.
        for name, p in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                p.data /= math.sqrt(2 * args.layers)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, "
          f"{tokenizer.get_vocab_size()} tokens", flush=True)
    decay = [p for n, p in model.named_parameters() if p.dim() > 1]
    plain = [p for n, p in model.named_parameters() if p.dim() <= 1]
    optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": 0.05},
                                   {"params": plain, "weight_decay": 0.0}],
                                  lr=args.lr, betas=(0.9, 0.98))
    rng = random.Random(f"train {args.seed}")
    if args.answers:
        examples = conversations.read_answers(args.answers)
        args.steps = len(examples) // args.batch
        examples = iter(examples)
    else:
        examples = conversations.worked_examples(rng, tokenizer)
    source = conversations.batches(rng, examples, args.batch)
    probe = random.Random(f"train probe {args.seed}")
    probe = next(conversations.batches(probe, conversations.worked_examples(probe, tokenizer), 128))
    start = time.time()
    for step in range(1, args.steps + 1):
        progress = step / args.steps
        rate = args.lr * min(1.0, step / 100) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        ids, labels = next(source)
        with torch.autocast("cpu", torch.bfloat16, enabled=args.autocast):
            logits = model(input_ids=ids, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(
            logits[:, :-1].float().reshape(-1, logits.shape[-1]), labels[:, 1:].reshape(-1),
            ignore_index=-100)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 50 == 0:
            print(f"step {step} loss {loss.item():.4f} lr {rate:.2e} {time.time() - start:.0f} s", flush=True)
        if step % args.checkpoint == 0 or step == args.steps:
            model.eval()
            print(f"step {step}: {forced_score(model, probe):.1%} of replies exact", flush=True)
            save(args.out, model, tokenizer)
            model.train()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "tiny-r1-qwen")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=7000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--intermediate", type=int, default=384)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--kv-heads", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--checkpoint", type=int, default=250, help="steps between checkpoints")
    parser.add_argument("--autocast", action=argparse.BooleanOptionalAction, default=True,
                        help="train with bf16 products")
    parser.add_argument("--answers", type=Path, help="train on these answers, once, in place of worked ones")
    parser.add_argument("--resume", action="store_true", help="start from the weights in the folder")
    parser.add_argument("--eval", action="store_true", help="score the folder, do not train")
    parser.add_argument("--show", type=int, default=5, help="wrong replies to print in full")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if not args.eval:
        arithmetic.write_heldout()
        train(args)
    evaluate(args.out, args.show)


if __name__ == "__main__":
    main()
