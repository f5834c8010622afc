# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The tiny models' tokenizer and chat template: a byte-level BPE learnt from the problems of
arithmetic.py, with R1's added tokens, and R1's way of telling turns and thoughts apart.
"""

import json
import random

from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from arithmetic import final_of, prompt_of, thoughts_of, training_problem

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


def write(folder, tokenizer):
    """tokenizer.json, tokenizer_config.json and generation_config.json."""
    generation = {"_from_model_config": True, "bos_token_id": tokenizer.token_to_id(BOS),
                  "eos_token_id": tokenizer.token_to_id(EOS), "do_sample": True, "temperature": 0.6,
                  "top_p": 0.95}
    for name, value in (("generation_config.json", generation), ("tokenizer_config.json", tokenizer_config()),
                        ("tokenizer.json", json.loads(tokenizer.to_str()))):
        (folder / name).write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
