# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Conversations to train the tiny models on, their greedy replies, and the score of those."""

import itertools
import json

import torch

from arithmetic import final_of, prompt_of, thoughts_of, training_problem
from chat_tokenizer import ASSISTANT, BOS, END_THINK, EOS, THINK, USER


def encode(tokenizer, text):
    return tokenizer.encode(text, add_special_tokens=False).ids


def encode_prompt(tokenizer, prompt):
    return encode(tokenizer, f"{BOS}{USER}{prompt}{ASSISTANT}{THINK}\n")


def opening(rng):
    """A conversation up to the reply that is wanted, as text, and the problem it asks."""
    text = BOS
    if rng.random() < 0.12:
        for _ in range(rng.choice([1, 1, 2])):
            earlier = training_problem(rng)
            text += f"{USER}{prompt_of(rng, *earlier)}{ASSISTANT}\n\n{final_of(*earlier)}{EOS}"
    problem = training_problem(rng)
    return text + f"{USER}{prompt_of(rng, *problem)}{ASSISTANT}{THINK}\n", problem


def worked_examples(rng, tokenizer):
    """Endless (token ids of a conversation with the worked solution, how many are the prompt)."""
    while True:
        text, problem = opening(rng)
        reply = f"{thoughts_of(*problem)}\n{END_THINK}\n\n{final_of(*problem)}{EOS}"
        prompt = encode(tokenizer, text)
        yield prompt + encode(tokenizer, reply), len(prompt)


def read_answers(path):
    """The examples of a file of answers: a line has the token ids of a prompt and of its reply."""
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [(line["prompt"] + line["reply"], len(line["prompt"])) for line in lines]


def batches(rng, examples, size):
    """Batches (ids, labels) of examples of similar length, padded on the right, while they last.

    Labels are the ids of the replies, and -100 elsewhere.
    """
    while pool := list(itertools.islice(examples, size * 16)):
        pool.sort(key=lambda e: len(e[0]))
        groups = [pool[i:i + size] for i in range(0, len(pool), size)]
        rng.shuffle(groups)
        for group in groups:
            width = max(len(ids) for ids, _ in group)
            ids = torch.zeros(len(group), width, dtype=torch.long)
            labels = torch.full((len(group), width), -100, dtype=torch.long)
            for row, (tokens, prompt) in enumerate(group):
                ids[row, :len(tokens)] = torch.tensor(tokens)
                labels[row, prompt:len(tokens)] = torch.tensor(tokens[prompt:])
            yield ids, labels


def greedy_replies(step, tokenizer, prompts, limit=400):
    """Greedy replies to prompts, both as token ids; EOS is part of a reply.

    step(ids [B, T], cache or None) gives the logits [B, V] after the last token, and the cache.
    """
    eos = tokenizer.token_to_id(EOS)
    replies, by_length = [None] * len(prompts), {}
    for index, ids in enumerate(prompts):
        by_length.setdefault(len(ids), []).append(index)
    for indices in by_length.values():
        # Prompts of equal length share a batch.
        ids, out, cache = torch.tensor([prompts[i] for i in indices]), [], None
        done = torch.zeros(len(indices), dtype=torch.bool)
        while not done.all() and len(out) < limit:
            logits, cache = step(ids, cache)
            ids = logits.argmax(-1, keepdim=True)
            out.append(ids[:, 0])
            done |= ids[:, 0] == eos
        for row, index in enumerate(indices):
            tokens = [int(t[row]) for t in out]
            replies[index] = tokens[:tokens.index(eos) + 1] if eos in tokens else tokens
    return replies


def is_right(reply, answer):
    """Whether the text of a reply has thoughts and ends in the answer."""
    return END_THINK in reply and reply.removesuffix(EOS).split(END_THINK)[-1].strip() == answer


def count_right(tokenizer, problems, replies, show=0):
    """How many replies (token ids) end in the problem's answer; the first wrong ones are printed."""
    right = 0
    for problem, reply in zip(problems, replies):
        text = tokenizer.decode(reply, skip_special_tokens=False)
        good = is_right(text, problem["answer"])
        right += good
        if not good and show > 0:
            show -= 1
            print(f"WRONG {problem['prompt']!r}, want {problem['answer']!r}, got:\n{text}\n", flush=True)
    return right
