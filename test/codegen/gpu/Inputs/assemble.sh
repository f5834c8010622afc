#!/bin/sh
# assemble.sh SPUTNIK PTXAS MODEL FOLDER: assembles a model's kernels for each
# chip and scheme, and prints for each what the worst kernel needs.
set -eu
for chip in sm_80 sm_86 sm_89 sm_90a sm_100a sm_120; do
  for scheme in bf16 q4; do
    "$1" compile "$3" --quant=$scheme --target=$chip --emit=asm -o "$4/k.ptx"
    "$2" -v -arch=$chip "$4/k.ptx" -o "$4/k.cubin" 2> "$4/log" ||
      { cat "$4/log"; exit 1; }
    awk -v what="$chip $scheme" '
      / stack frame/ { if ($1 > stack) stack = $1
                       if ($5 > spill) spill = $5 }
      / registers/ { for (i = 1; i < NF; ++i)
                       if ($(i + 1) ~ /^registers/ && $i > used) used = $i }
      END { printf "%s: %d registers, %d bytes stack, %d bytes spilled\n",
            what, used, stack, spill }' "$4/log"
  done
done
