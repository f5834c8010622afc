# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""engine.py llama.cpp|ik_llama.cpp GGUF PROMPT GEN THREADS: a peer in a process of
its own, since both have symbols of the same names. It prints its version when its
model is loaded; then, for each line it reads, it does a prefill of PROMPT tokens
and decodes GEN more, and prints both rates in tokens/s."""

import ctypes
import importlib.metadata
import os
import sys
import time


def load(api, path, context, threads):
    """A context of `context` tokens for the model, or None."""
    api.llama_backend_init()
    model = api.llama_model_load_from_file(path.encode(), api.llama_model_default_params())
    params = api.llama_context_default_params()
    params.n_ctx, params.n_batch = context, context
    params.n_threads = params.n_threads_batch = threads
    return model and api.llama_init_from_model(model, params)


class LlamaCpp:
    def __init__(self, path, context, threads):
        import llama_cpp as api
        self.api, self.version = api, api.__version__
        self.quiet = api.llama_log_callback(lambda level, text, data: None)
        api.llama_log_set(self.quiet, ctypes.c_void_p(0))
        self.context = load(api, path, context, threads)

    def clear(self):
        self.api.llama_memory_clear(self.api.llama_get_memory(self.context), True)

    def feed(self, tokens, position):
        array = (self.api.llama_token * len(tokens))(*tokens)
        status = self.api.llama_decode(
            self.context, self.api.llama_batch_get_one(array, len(tokens)))
        if status:
            sys.exit(f"llama_decode: {status}")
        self.api.llama_get_logits(self.context)  # Waits for the result.


class IkLlamaCpp:
    def __init__(self, path, context, threads):
        from ik_llama_cpp import _ctypes_api as api
        self.api = api
        self.version = importlib.metadata.version("ik_llama_cpp_python")
        self.context = load(api, path, context, threads)
        self.batch = api.llama_batch_init(context, 0, 1)

    def clear(self):
        self.api.llama_kv_cache_clear(self.context)

    def feed(self, tokens, position):
        batch = self.batch
        batch.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            batch.token[i], batch.pos[i] = token, position + i
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
            batch.logits[i] = i + 1 == len(tokens)
        status = self.api.llama_decode(self.context, batch)
        if status:
            sys.exit(f"llama_decode: {status}")
        self.api.llama_get_logits_ith(self.context, -1)  # Waits for the result.


ENGINES = {"llama.cpp": LlamaCpp, "ik_llama.cpp": IkLlamaCpp}


def round_of(engine, prompt, gen):
    engine.clear()
    start = time.monotonic()
    engine.feed([1000 + i for i in range(prompt)], 0)
    middle = time.monotonic()
    for i in range(gen):
        engine.feed([2000 + i], prompt + i)
    end = time.monotonic()
    return prompt / (middle - start), gen / (end - middle)


def main(name, path, prompt, gen, threads):
    prompt, gen = int(prompt), int(gen)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # What the library prints is not an answer.
    engine = ENGINES[name](path, prompt + gen, int(threads))
    if not engine.context:
        sys.exit(f"{path}: {name} cannot load it")
    round_of(engine, prompt, gen)
    print(engine.version, file=answers)
    for _ in sys.stdin:
        print(*round_of(engine, prompt, gen), file=answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
