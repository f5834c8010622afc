#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Train models/tiny-r1: a tiny `deepseek_v3` model that reasons about sums.

    python models/train_tiny_r1.py                 # train, write, score
    python models/train_tiny_r1.py --eval          # score the folder again
    python models/train_tiny_r1.py --check         # compare the folder with transformers
    python models/train_tiny_r1.py --random OUT    # the same layout with random weights
    python models/train_tiny_r1.py --write-answers FILE   # its answers, to distil from

The scores are of the weights as stored (FP8, dequantised), computed in float32: the share of
right greedy answers, and how often the MTP layer's draft of the token after next is the
token which the model then chooses.

Needs torch and tokenizers; --check needs transformers (5.x).
"""

import argparse
import json
import math
import random
import tempfile
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch.nn import functional as F

import arithmetic
import chat_tokenizer
import conversations
import deepseek_v3_folder
from deepseek_v3 import Model
from muon import Muon

HERE = Path(__file__).resolve().parent


def make_config(tokenizer):
    """R1's keys. Sizes are such that the 128x128 blocks of scales are cut at the edges."""
    return {
        "architectures": ["DeepseekV3ForCausalLM"], "attention_bias": False, "attention_dropout": 0.0,
        "bos_token_id": tokenizer.token_to_id(chat_tokenizer.BOS), "eos_token_id": tokenizer.token_to_id(chat_tokenizer.EOS),
        "ep_size": 1, "first_k_dense_replace": 1, "hidden_act": "silu", "hidden_size": 136,
        "initializer_range": 0.02, "intermediate_size": 328, "kv_lora_rank": 48,
        "max_position_embeddings": 2048, "model_type": "deepseek_v3", "moe_intermediate_size": 80,
        "moe_layer_freq": 1, "n_group": 4, "n_routed_experts": 16, "n_shared_experts": 1,
        "norm_topk_prob": True, "num_attention_heads": 4, "num_experts_per_tok": 3,
        "num_hidden_layers": 4, "num_key_value_heads": 4, "num_nextn_predict_layers": 1,
        "q_lora_rank": 72, "qk_nope_head_dim": 32, "qk_rope_head_dim": 16,
        "quantization_config": {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8",
                                "weight_block_size": [128, 128]},
        "rms_norm_eps": 1e-06,
        "rope_scaling": {"beta_fast": 32, "beta_slow": 1, "factor": 4, "mscale": 1.0,
                         "mscale_all_dim": 1.0, "original_max_position_embeddings": 512, "type": "yarn"},
        "rope_theta": 10000, "routed_scaling_factor": 2.5, "scoring_func": "sigmoid",
        "tie_word_embeddings": False, "topk_group": 2, "topk_method": "noaux_tc",
        "torch_dtype": "bfloat16", "transformers_version": "4.46.3", "use_cache": True,
        "v_head_dim": 32, "vocab_size": chat_tokenizer.VOCAB_ROWS}


def save(folder, model, tokenizer):
    deepseek_v3_folder.write(folder, model, make_config(tokenizer))
    chat_tokenizer.write(folder, tokenizer)


def losses(model, ids, labels, draft):
    """Mean cross entropy of the answers' tokens and of their drafts, and the answers all right."""
    hidden = model(ids)
    asked = labels[:, 1:] != -100
    logits = model.logits(hidden[:, :-1][asked])
    main = F.cross_entropy(logits, labels[:, 1:][asked])
    wrong = torch.zeros(asked.shape, dtype=torch.bool)
    wrong[asked] = logits.argmax(-1) != labels[:, 1:][asked]
    if not draft:
        return main, None, wrong
    asked = labels[:, 2:] != -100
    drafts = model.logits(model.drafted(hidden, ids)[:, :-1][asked])
    return main, F.cross_entropy(drafts, labels[:, 2:][asked]), wrong


def optimizers_of(model, rate):
    matrices, others, plain = [], [], []
    for name, p in model.named_parameters():
        others_too = name in ("embed_tokens", "lm_head.weight") or name.endswith("router")
        (plain if p.dim() == 1 else others if others_too else matrices).append(p)
    adam = torch.optim.AdamW([{"params": others, "weight_decay": 0.05},
                              {"params": plain, "weight_decay": 0.0}], lr=rate, betas=(0.9, 0.98))
    return [Muon(matrices, lr=rate), adam]


def train(args):
    torch.manual_seed(args.seed)
    tokenizer = chat_tokenizer.build_tokenizer()
    model = Model(make_config(tokenizer)).train()
    model.compute = torch.bfloat16
    optimizers = optimizers_of(model, args.lr)
    first = 0
    if args.resume:
        state = torch.load(args.state)
        model.load_state_dict(state["model"])
        for optimizer, held in zip(optimizers, state["optimizers"]):
            optimizer.load_state_dict(held)
        first = state["step"]
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, from step {first}", flush=True)
    rng = random.Random(f"train {args.seed} from {first}")
    source = conversations.batches(rng, conversations.worked_examples(rng, tokenizer), args.batch)
    start, right = time.time(), 0.0
    for step in range(first + 1, args.steps + 1):
        rate = args.lr * min(1.0, step / 100, max(0.01, (args.steps - step) / args.decay))
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
        model.fp8, drafting = step > args.fp8_from, step > args.draft_from
        ids, labels = next(source)
        main, draft, wrong = losses(model, ids, labels, drafting)
        (main + 0.3 * draft if drafting else main).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        # The bias comes to rest with the rate.
        mixtures = [m for m in model.mixtures() if m.load is not None]
        for mixture in mixtures:
            mixture.balance(args.balance * rate / args.lr)
        right += 0.02 * ((~wrong.any(-1)).float().mean().item() - right)
        if step % 25 == 0:
            busiest = max(float(m.load.max() / m.load.float().mean()) for m in mixtures)
            print(f"step {step} loss {main.item():.4f} draft {draft.item() if drafting else math.nan:.4f} "
                  f"exact {right:.1%} busiest {busiest:.2f} lr {rate:.2e} {time.time() - start:.0f} s",
                  flush=True)
        if step % args.checkpoint == 0 or step == args.steps:
            state = {"model": model.state_dict(), "step": step,
                     "optimizers": [optimizer.state_dict() for optimizer in optimizers]}
            torch.save(state, args.state.with_suffix(".new"))
            args.state.with_suffix(".new").rename(args.state)
            save(args.out, model, tokenizer)


@torch.no_grad()
def greedy_replies(model, tokenizer, prompts):
    def step(ids, cache):
        cache = {} if cache is None else cache
        return model.logits(model(ids, cache)[:, -1]), cache
    return conversations.greedy_replies(step, tokenizer, prompts)


def write_answers(args):
    """Answers openings of training conversations; keeps those that are right, as R1's were kept."""
    tokenizer = Tokenizer.from_file(str(args.out / "tokenizer.json"))
    model = deepseek_v3_folder.read(args.out)
    rng = random.Random(f"answers {args.seed}")
    start, kept = time.time(), 0
    with args.write_answers.open("w", encoding="utf-8") as file:
        for first in range(0, args.count, 2000):
            size = min(2000, args.count - first)
            texts, problems = zip(*(conversations.opening(rng) for _ in range(size)))
            prompts = [conversations.encode(tokenizer, text) for text in texts]
            for prompt, problem, reply in zip(prompts, problems, greedy_replies(model, tokenizer, prompts)):
                text = tokenizer.decode(reply, skip_special_tokens=False)
                if conversations.is_right(text, arithmetic.final_of(*problem)):
                    file.write(json.dumps({"prompt": prompt, "reply": reply}) + "\n")
                    kept += 1
            print(f"kept {kept} of {first + size} answers, {time.time() - start:.0f} s", flush=True)


@torch.no_grad()
def drafts_accepted(model, prompts, replies):
    """(drafts that equal the model's own token, drafts) over the tokens of the replies."""
    accepted = drafts = 0
    for prompt, reply in zip(prompts, replies):
        ids = torch.tensor([prompt + reply])
        states = model.drafted(model(ids), ids)[:, len(prompt) - 1:-1]
        want = ids[:, len(prompt) + 1:]
        accepted += int((model.logits(states).argmax(-1) == want).sum())
        drafts += want.numel()
    return accepted, drafts


def evaluate(args):
    tokenizer = Tokenizer.from_file(str(args.out / "tokenizer.json"))
    model = deepseek_v3_folder.read(args.out)
    problems = arithmetic.read_heldout()[:args.problems]
    prompts = [conversations.encode_prompt(tokenizer, p["prompt"]) for p in problems]
    replies = greedy_replies(model, tokenizer, prompts)
    right = conversations.count_right(tokenizer, problems, replies, args.show)
    accepted, drafts = drafts_accepted(model, prompts, replies)
    print(f"held-out accuracy (greedy, FP8 weights): {right}/{len(problems)} = {right / len(problems):.1%}")
    print(f"drafts accepted: {accepted}/{drafts} = {accepted / drafts:.1%}")
    for index, mixture in enumerate(model.mixtures()):
        print(f"correction bias of mixture {index}: {mixture.correction.min():+.3f} to "
              f"{mixture.correction.max():+.3f}")


@torch.no_grad()
def check(args):
    """Largest difference of logits from transformers', relative to the largest logit of the row."""
    from safetensors.torch import save_file
    from transformers import DeepseekV3ForCausalLM
    tokenizer = Tokenizer.from_file(str(args.out / "tokenizer.json"))
    model = deepseek_v3_folder.read(args.out)
    config = json.loads((args.out / "config.json").read_text(encoding="utf-8"))
    del config["quantization_config"]
    drafting = f"model.layers.{config['num_hidden_layers']}."
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        save_file({name: tensor for name, tensor in deepseek_v3_folder.dequantized(args.out).items()
                   if not name.startswith(drafting)}, folder / "model.safetensors", metadata={"format": "pt"})
        deepseek_v3_folder.write_json(folder / "config.json", config)
        other = DeepseekV3ForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    worst = 0.0
    examples = conversations.worked_examples(random.Random("check"), tokenizer)
    conversation = torch.tensor([next(examples)[0]])
    for ids in (conversation, torch.randint(0, chat_tokenizer.TOKENS, (2, 1024))):
        want = other(input_ids=ids, use_cache=False).logits
        difference = (model.logits(model(ids)) - want).abs().amax(-1) / want.abs().amax(-1)
        worst = max(worst, float(difference.max()))
    print(f"largest difference from transformers: {worst:.2e} of the row's largest logit")
    if worst > 1e-4:
        raise SystemExit("expected at most 1e-4")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "tiny-r1")
    parser.add_argument("--state", type=Path, default=Path(tempfile.gettempdir()) / "tiny-r1.state",
                        help="file of the training state")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--decay", type=int, default=900, help="last steps, in which the rate falls to 0")
    parser.add_argument("--fp8-from", type=int, default=900, help="steps trained without FP8 rounding")
    parser.add_argument("--draft-from", type=int, default=600, help="steps trained without the MTP layer")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--balance", type=float, default=5e-3, help="step of the router's correction bias")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--checkpoint", type=int, default=200, help="steps between checkpoints")
    parser.add_argument("--resume", action="store_true", help="go on from the training state")
    parser.add_argument("--eval", action="store_true", help="score the folder, do not train")
    parser.add_argument("--check", action="store_true", help="compare with transformers, do not train")
    parser.add_argument("--random", type=Path, metavar="OUT", help="write random weights there, do not train")
    parser.add_argument("--write-answers", type=Path, metavar="FILE",
                        help="write right answers to training problems, do not train")
    parser.add_argument("--count", type=int, default=16000, help="problems to answer")
    parser.add_argument("--problems", type=int, default=500, help="held-out problems to score")
    parser.add_argument("--show", type=int, default=5, help="wrong replies to print in full")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.random:
        torch.manual_seed(args.seed)
        tokenizer = chat_tokenizer.build_tokenizer()
        model = Model(make_config(tokenizer))
        for mixture in model.mixtures():
            mixture.correction.normal_(std=0.05)
        save(args.random, model, tokenizer)
    elif args.check:
        check(args)
    elif args.write_answers:
        write_answers(args)
    else:
        if not args.eval:
            train(args)
        evaluate(args)


if __name__ == "__main__":
    main()
