# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""compare.py EXECUTABLE GGUF ROUNDS: prefill of 512 tokens and decode of 64, in
turn in an executable of Sputnik and in llama.cpp, on 2 threads. Prints medians,
the read bandwidth that Sputnik measured beside, and ratios."""

import ctypes
import json
import statistics
import subprocess
import sys
import time

import llama_cpp

PROMPT, GEN, THREADS = 512, 64, 2


class Peer:
    """llama.cpp with one conversation."""

    def __init__(self, path):
        llama_cpp.llama_backend_init()
        self.quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
        llama_cpp.llama_log_set(self.quiet, ctypes.c_void_p(0))
        self.model = llama_cpp.llama_model_load_from_file(
            path.encode(), llama_cpp.llama_model_default_params())
        if not self.model:
            sys.exit(f"{path}: llama.cpp cannot load it")
        params = llama_cpp.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = 1024, PROMPT, PROMPT
        params.n_threads = params.n_threads_batch = THREADS
        self.context = llama_cpp.llama_init_from_model(self.model, params)

    def feed(self, tokens):
        array = (llama_cpp.llama_token * len(tokens))(*tokens)
        status = llama_cpp.llama_decode(
            self.context, llama_cpp.llama_batch_get_one(array, len(tokens)))
        if status:
            sys.exit(f"llama_decode: {status}")
        llama_cpp.llama_get_logits(self.context)  # Waits for the result.

    def round(self):
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)
        start = time.monotonic()
        self.feed([1000 + i for i in range(PROMPT)])
        middle = time.monotonic()
        for i in range(GEN):
            self.feed([2000 + i])
        end = time.monotonic()
        return PROMPT / (middle - start), GEN / (end - middle)


def sputnik_round(executable):
    out = subprocess.run(
        [executable, "bench", "--prompt", str(PROMPT), "--gen", str(GEN),
         "--context", str(PROMPT), "--repeat", "1", "--threads", str(THREADS), "--json"],
        check=True, capture_output=True, text=True).stdout
    result = json.loads(out)
    return result["prefill_tok_s"], result["decode_tok_s"], result["read_gb_s"]


def main(executable, path, rounds):
    peer = Peer(path)
    peer.round()
    ours, theirs = [], []
    for _ in range(int(rounds)):
        ours.append(sputnik_round(executable))
        theirs.append(peer.round())

    def medians(rows):
        return [statistics.median(column) for column in zip(*rows)]

    prefill, decode, read = medians(ours)
    peer_prefill, peer_decode = medians(theirs)
    print("| engine | prefill of 512, tokens/s | decode after 512, tokens/s |")
    print("|---|---|---|")
    print(f"| Sputnik q4 | {prefill:.0f} | {decode:.1f} |")
    print(f"| llama.cpp Q4_0 (llama-cpp-python {llama_cpp.__version__}) "
          f"| {peer_prefill:.0f} | {peer_decode:.1f} |")
    print(f"| ratio, median of rounds "
          f"| {statistics.median(a[0] / b[0] for a, b in zip(ours, theirs)):.2f} "
          f"| {statistics.median(a[1] / b[1] for a, b in zip(ours, theirs)):.2f} |")
    print(f"\nrounds: {rounds}, threads: {THREADS}, read bandwidth: {read:.1f} GB/s")


if __name__ == "__main__":
    main(*sys.argv[1:])
