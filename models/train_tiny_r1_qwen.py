#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Train models/tiny-r1-qwen: a tiny `qwen2` model that reasons about sums.

The script makes its own problems (addition, subtraction and products by one
digit of numbers of up to four digits), its own byte-level BPE tokenizer, trains
a Qwen2ForCausalLM on worked solutions and writes a Hugging Face folder.

    python models/train_tiny_r1_qwen.py            # train, write, score
    python models/train_tiny_r1_qwen.py --eval     # score the folder again

A problem is held out of training when a hash of it says so, so no run, seed or
phrasing ever trains on a problem of heldout-500.jsonl.  The printed score is the
greedy one, of the weights as stored (bf16) computed in float32.

Needs torch, transformers (5.x) and tokenizers.
"""

import argparse
import hashlib
import json
import math
import random
import time
from pathlib import Path

import torch
from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import Qwen2Config, Qwen2ForCausalLM

HERE = Path(__file__).resolve().parent

BOS = "<｜begin▁of▁sentence｜>"
EOS = "<｜end▁of▁sentence｜>"
USER = "<｜User｜>"
ASSISTANT = "<｜Assistant｜>"
THINK, END_THINK = "<think>", "</think>"
# In the order of their ids; the flag is `special`, as in the R1 distills.
ADDED = [(EOS, True), (USER, False), (ASSISTANT, False), (BOS, True),
         (THINK, False), (END_THINK, False)]

# Rows of the embedding. Like R1's, more than the tokenizer has tokens.
VOCAB_ROWS = 384
TOKENS = 378

CHAT_TEMPLATE = """\
{%- set seen = namespace(system='') -%}
{%- for turn in messages if turn['role'] == 'system' -%}
  {%- set seen.system = turn['content'] -%}
{%- endfor -%}
{{- bos_token + seen.system -}}
{%- for turn in messages -%}
  {%- if turn['role'] == 'user' -%}
    {{- '<｜User｜>' + turn['content'] -}}
  {%- elif turn['role'] == 'assistant' -%}
    {#- Earlier thoughts are not shown to the model again. -#}
    {{- '<｜Assistant｜>' + turn['content'].split('</think>')[-1] + '<｜end▁of▁sentence｜>' -}}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- '<｜Assistant｜><think>\\n' -}}
{%- endif -%}
"""


# Problems

PHRASES = {
    "+": ["What is {a} + {b}?", "{a} + {b} = ?", "Compute {a} + {b}.", "What is {a} plus {b}?",
          "Add {a} and {b}.", "Calculate {a} + {b}.", "How much is {a} + {b}?",
          "What is the sum of {a} and {b}?", "{a} + {b}", "{a}+{b}", "What is {a}+{b}?",
          "Find {a} plus {b}.", "How much is {a} plus {b}?"],
    "-": ["What is {a} - {b}?", "{a} - {b} = ?", "Compute {a} - {b}.", "What is {a} minus {b}?",
          "Subtract {b} from {a}.", "Calculate {a} - {b}.", "How much is {a} - {b}?",
          "{a} - {b}", "{a}-{b}", "What is {a}-{b}?", "Find {a} minus {b}.",
          "How much is {a} minus {b}?"],
    "*": ["What is {a} * {b}?", "{a} * {b} = ?", "Compute {a} * {b}.", "What is {a} times {b}?",
          "Multiply {a} by {b}.", "Calculate {a} * {b}.", "How much is {a} * {b}?",
          "What is the product of {a} and {b}?", "{a} * {b}", "{a}*{b}", "What is {a} x {b}?",
          "Find {a} times {b}.", "How much is {a} times {b}?"],
}
PLACES = ["ones", "tens", "hundreds", "thousands"]


def held_out(op, a, b):
    """One problem in 32 is never trained on; the choice depends on the problem alone."""
    return hashlib.sha256(f"{a} {op} {b}".encode()).digest()[0] % 32 == 0


def random_number(rng, most=4):
    digits = rng.choices(range(1, most + 1), weights=range(2, most + 2))[0]
    return rng.randrange(0 if digits == 1 else 10 ** (digits - 1), 10 ** digits)


def random_problem(rng):
    op = rng.choices("+-*", weights=[3, 4, 3])[0]
    if op == "*":
        a, b = random_number(rng), rng.randrange(10)
        return (op, b, a) if rng.random() < 0.25 else (op, a, b)
    a, b = random_number(rng), random_number(rng)
    if op == "-" and rng.random() < 0.25:
        # Neighbours: otherwise numbers that agree in leading digits would be rare.
        b = min(9999, max(0, a + rng.randrange(-10, 11) * rng.choice([1, 1, 10, 100])))
    return op, a, b


def training_problem(rng):
    while True:
        problem = random_problem(rng)
        if not held_out(*problem):
            return problem


def prompt_of(rng, op, a, b):
    text = rng.choice(PHRASES[op]).format(a=a, b=b)
    roll = rng.random()
    if roll < 0.05:
        text = text[0].lower() + text[1:]
    elif roll < 0.10 and text[-1] in "?.":
        text = text[:-1]
    return text


def answer_of(op, a, b):
    return a + b if op == "+" else a - b if op == "-" else a * b


def thoughts_of(op, a, b):
    """The worked solution. Every line follows from the line before and one column."""
    lines = []
    if op == "*":
        if a < 10 <= b:
            a, b = b, a
        lines.append(f"Line up {a:04} times {b}.")
        carry, written = 0, ""
        for place, digit in zip(PLACES, map(int, f"{a:04}"[::-1])):
            product = digit * b
            total = product + carry
            lines.append(f"{place}: {digit}*{b}={product}, {product}+{carry}={total}, "
                         f"write {total % 10}, carry {total // 10}")
            written, carry = str(total % 10) + written, total // 10
        written = str(carry) + written
    elif op == "+":
        lines.append(f"Line up {a:04} plus {b:04}.")
        carry, written = 0, ""
        for place, x, y in zip(PLACES, map(int, f"{a:04}"[::-1]), map(int, f"{b:04}"[::-1])):
            total = x + y + carry
            lines.append(f"{place}: {x}+{y}+{carry}={total}, write {total % 10}, carry {total // 10}")
            written, carry = str(total % 10) + written, total // 10
        written = str(carry) + written
    else:
        lines.append(f"Line up {a:04} minus {b:04}.")
        compared = []
        for x, y in zip(f"{a:04}", f"{b:04}"):
            compared.append(x + ("=" if x == y else ">" if x > y else "<") + y)
            if x != y:
                break
        if a < b:
            lines.append(f"Compare {' '.join(compared)}, so swap and negate: {b:04} minus {a:04}.")
            a, b = b, a
        else:
            lines.append(f"Compare {' '.join(compared)}, so keep: {a:04} minus {b:04}.")
        borrow, written = 0, ""
        for place, x, y in zip(PLACES, map(int, f"{a:04}"[::-1]), map(int, f"{b:04}"[::-1])):
            total = x - y - borrow
            lines.append(f"{place}: {x}-{y}-{borrow}={total}, write {total % 10}, borrow {int(total < 0)}")
            written, borrow = str(total % 10) + written, int(total < 0)
    lines.append(f"Together {written}, that is {int(written)}.")
    return "\n".join(lines)


def final_of(op, a, b):
    return f"{a} {op} {b} = {answer_of(op, a, b)}"


def heldout_set(count):
    rng = random.Random("held out")
    found, seen = [], set()
    while len(found) < count:
        problem = random_problem(rng)
        if held_out(*problem) and problem not in seen:
            seen.add(problem)
            found.append({"prompt": prompt_of(rng, *problem), "answer": final_of(*problem)})
    return found


# Tokenizer

def byte_alphabet():
    """The 256 characters that stand for bytes, in GPT-2's (and Qwen's) id order."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return [chr(b) for b in plain] + [chr(0x100 + i) for i in range(256 - len(plain))]


def pipeline(model):
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.NFC()
    split = Regex(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
                  r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(split, "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    return tokenizer


def build_tokenizer():
    rng = random.Random("tokenizer")
    corpus = ["This is how to work it out, one step at a time: the answer is yes or no.\n"] * 20
    for _ in range(3000):
        problem = training_problem(rng)
        corpus += [prompt_of(rng, *problem), "\n" + thoughts_of(*problem) + "\n",
                   "\n\n" + final_of(*problem)]
    learner = pipeline(models.BPE())
    learner.train_from_iterator(corpus, trainers.BpeTrainer(
        vocab_size=TOKENS - len(ADDED), show_progress=False, initial_alphabet=byte_alphabet()))
    merges = [tuple(m) for m in json.loads(learner.to_str())["model"]["merges"]]
    # Ids as in Qwen: bytes first, then one id per merge in merge order.
    vocab = {c: i for i, c in enumerate(byte_alphabet())}
    for left, right in merges:
        vocab.setdefault(left + right, len(vocab))
    assert len(vocab) == 256 + len(merges) == TOKENS - len(ADDED), len(vocab)
    tokenizer = pipeline(models.BPE(vocab=vocab, merges=merges))
    for content, special in ADDED:
        token = AddedToken(content, normalized=False, special=special)
        (tokenizer.add_special_tokens if special else tokenizer.add_tokens)([token])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS}:1 $B:1",
        special_tokens=[(BOS, tokenizer.token_to_id(BOS))])
    return tokenizer


def tokenizer_config():
    def added(content):
        return {"__type": "AddedToken", "content": content, "lstrip": False, "normalized": True,
                "rstrip": False, "single_word": False}
    return {"add_bos_token": True, "add_eos_token": False, "bos_token": added(BOS),
            "eos_token": added(EOS), "pad_token": added(EOS), "unk_token": None,
            "clean_up_tokenization_spaces": False, "model_max_length": 2048,
            "tokenizer_class": "PreTrainedTokenizerFast", "chat_template": CHAT_TEMPLATE}


# Training

def example(rng, tokenizer):
    """Token ids of one conversation and how many of them are the prompt."""
    text = BOS
    if rng.random() < 0.12:
        for _ in range(rng.choice([1, 1, 2])):
            earlier = training_problem(rng)
            text += f"{USER}{prompt_of(rng, *earlier)}{ASSISTANT}\n\n{final_of(*earlier)}{EOS}"
    problem = training_problem(rng)
    text += f"{USER}{prompt_of(rng, *problem)}{ASSISTANT}{THINK}\n"
    reply = f"{thoughts_of(*problem)}\n{END_THINK}\n\n{final_of(*problem)}{EOS}"
    prompt = tokenizer.encode(text, add_special_tokens=False).ids
    return prompt + tokenizer.encode(reply, add_special_tokens=False).ids, len(prompt)


def batches(seed, tokenizer, size):
    """Endless batches of conversations of similar length, padded on the right."""
    rng = random.Random(f"train {seed}")
    while True:
        pool = sorted((example(rng, tokenizer) for _ in range(size * 16)), key=lambda e: len(e[0]))
        groups = [pool[i:i + size] for i in range(0, len(pool), size)]
        rng.shuffle(groups)
        for group in groups:
            width = max(len(ids) for ids, _ in group)
            ids = torch.zeros(size, width, dtype=torch.long)
            labels = torch.full((size, width), -100, dtype=torch.long)
            for row, (tokens, prompt) in enumerate(group):
                ids[row, :len(tokens)] = torch.tensor(tokens)
                labels[row, prompt:len(tokens)] = torch.tensor(tokens[prompt:])
            yield ids, labels


def make_config(tokenizer, args):
    return Qwen2Config(
        vocab_size=VOCAB_ROWS, hidden_size=args.hidden, intermediate_size=args.intermediate,
        num_hidden_layers=args.layers, num_attention_heads=args.hidden // 32,
        num_key_value_heads=args.kv_heads, max_position_embeddings=2048, rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=False, use_sliding_window=False, attention_dropout=0.0,
        bos_token_id=tokenizer.token_to_id(BOS), eos_token_id=tokenizer.token_to_id(EOS),
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
    generation = {"_from_model_config": True, "bos_token_id": c.bos_token_id,
                  "eos_token_id": c.eos_token_id, "do_sample": True, "temperature": 0.6, "top_p": 0.95}

    def write(name, value):
        (folder / name).write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    write("config.json", config)
    write("generation_config.json", generation)
    write("tokenizer_config.json", tokenizer_config())
    write("tokenizer.json", json.loads(tokenizer.to_str()))
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
def greedy_replies(model, tokenizer, prompts, limit=400):
    """Greedy replies, without the prompt; equal-length prompts share a batch."""
    eos = tokenizer.token_to_id(EOS)
    encoded = [tokenizer.encode(f"{BOS}{USER}{p}{ASSISTANT}{THINK}\n", add_special_tokens=False).ids
               for p in prompts]
    replies = [None] * len(prompts)
    by_length = {}
    for index, ids in enumerate(encoded):
        by_length.setdefault(len(ids), []).append(index)
    for indices in by_length.values():
        ids = torch.tensor([encoded[i] for i in indices])
        done = torch.zeros(len(indices), dtype=torch.bool)
        out, cache = [], None
        while not done.all() and len(out) < limit:
            step = model(input_ids=ids, past_key_values=cache, use_cache=True)
            cache = step.past_key_values
            ids = step.logits[:, -1:].argmax(-1)
            out.append(ids[:, 0])
            done |= ids[:, 0] == eos
        for row, index in enumerate(indices):
            tokens = [int(t[row]) for t in out]
            tokens = tokens[:tokens.index(eos)] if eos in tokens else tokens
            replies[index] = tokenizer.decode(tokens, skip_special_tokens=False)
    return replies


def score(model, tokenizer, problems, show=0):
    replies = greedy_replies(model, tokenizer, [p["prompt"] for p in problems])
    right = 0
    for problem, reply in zip(problems, replies):
        good = reply.split(END_THINK)[-1].strip() == problem["answer"] and END_THINK in reply
        right += good
        if not good and show > 0:
            show -= 1
            print(f"WRONG {problem['prompt']!r}, want {problem['answer']!r}, got:\n{reply}\n", flush=True)
    return right


def evaluate(folder, heldout, show):
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    model = Qwen2ForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).float().eval()
    problems = [json.loads(line) for line in heldout.read_text(encoding="utf-8").splitlines()]
    for problem in problems:
        print(problem["prompt"], "->", problem["answer"])
    right = score(model, tokenizer, problems, show)
    print(f"held-out accuracy (greedy, bf16 weights): {right}/{len(problems)} = {right / len(problems):.1%}")
    return right


def train(args):
    torch.manual_seed(args.seed)
    tokenizer = build_tokenizer()
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
    source = batches(args.seed, tokenizer, args.batch)
    probe = next(batches(f"probe {args.seed}", tokenizer, 128))
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
    parser.add_argument("--heldout", type=Path, default=HERE / "heldout-500.jsonl")
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
    parser.add_argument("--resume", action="store_true", help="start from the weights in the folder")
    parser.add_argument("--eval", action="store_true", help="score the folder, do not train")
    parser.add_argument("--show", type=int, default=5, help="wrong replies to print in full")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if not args.eval:
        problems = heldout_set(500)
        args.heldout.write_text("".join(json.dumps(p) + "\n" for p in problems), encoding="utf-8")
        train(args)
    evaluate(args.out, args.heldout, args.show)


if __name__ == "__main__":
    main()
