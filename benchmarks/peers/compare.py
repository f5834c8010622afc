# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""compare.py EXECUTABLE WORK ROUNDS PROMPT: prefill of PROMPT tokens and decode of
64 after it, in turn in an executable of Sputnik and in each peer, on 2 threads,
with the random models that `run` left in WORK. Prints medians, the read bandwidth
that Sputnik measured beside, and ratios."""

import json
import os
import statistics
import subprocess
import sys

GEN, THREADS = 64, 2
PEERS = [("llama.cpp", "q4_0", 4.5), ("ik_llama.cpp", "iq4_ks", 4.25)]


class Peer:
    def __init__(self, engine, matrix, bits, work, prompt):
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "engine.py")
        self.process = subprocess.Popen(
            [sys.executable, script, engine, f"{work}/{matrix}.gguf", prompt, str(GEN),
             str(THREADS)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True, bufsize=1)
        self.name = f"{engine} {self.answer()} {matrix}"
        self.bits = bits

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{' '.join(self.process.args)}: failed")
        return line.strip()

    def round(self):
        self.process.stdin.write("\n")
        return [float(number) for number in self.answer().split()]


def sputnik_round(executable, prompt):
    out = subprocess.run(
        [executable, "bench", "--prompt", prompt, "--gen", str(GEN), "--context", prompt,
         "--repeat", "1", "--threads", str(THREADS), "--json"],
        check=True, capture_output=True, text=True).stdout
    result = json.loads(out)
    return result["prefill_tok_s"], result["decode_tok_s"], result["read_gb_s"]


def main(executable, work, rounds, prompt):
    peers = [Peer(*peer, work, prompt) for peer in PEERS]
    ours, theirs = [], [[] for _ in peers]
    for _ in range(int(rounds)):
        ours.append(sputnik_round(executable, prompt))
        for peer, rows in zip(peers, theirs):
            rows.append(peer.round())

    def medians(rows):
        return [statistics.median(column) for column in zip(*rows)]

    def ratio(rows, column):
        return statistics.median(a[column] / b[column] for a, b in zip(ours, rows))

    prefill, decode, read = medians(ours)
    print(f"| engine | bits a weight | prefill of {prompt}, tokens/s | Sputnik's ratio "
          f"| decode after {prompt}, tokens/s | Sputnik's ratio |")
    print("|---|---|---|---|---|---|")
    print(f"| Sputnik q4 | 4.27 | {prefill:.0f} | | {decode:.1f} | |")
    for peer, rows in zip(peers, theirs):
        prefill, decode = medians(rows)
        print(f"| {peer.name} | {peer.bits} | {prefill:.0f} | {ratio(rows, 0):.2f} "
              f"| {decode:.1f} | {ratio(rows, 1):.2f} |")
    print(f"\nrounds: {rounds}, threads: {THREADS}, read bandwidth: {read:.1f} GB/s; "
          "ratios are medians over rounds")


if __name__ == "__main__":
    main(*sys.argv[1:])
