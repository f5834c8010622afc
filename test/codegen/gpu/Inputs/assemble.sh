#!/bin/sh
# assemble.sh SPUTNIK PTXAS MODEL FOLDER CHIP SCHEME: assembles a model's kernels
# and prints what each needs. Fails on a remark that ptxas serialises products.
set -eu
"$1" compile "$3" --weights=random --target="$5" --quant="$6" --emit=asm -o "$4/k.ptx"
"$2" -v -arch="$5" "$4/k.ptx" -o "$4/k.cubin" 2> "$4/log" || { cat "$4/log"; exit 1; }
# Remarks on products of warpgroups that do not overlap.
! grep 'C75[0-9][0-9]' "$4/log" || exit 1
awk '/Function properties for/ { kernel = $NF }
     / stack frame/ { stack = $1; spill = $5 }
     / registers/ { for (i = 1; i < NF; ++i) if ($(i + 1) ~ /^registers/) used = $i
                    printf "%s: %d registers, %d bytes stack, %d bytes spilled\n",
                           kernel, used, stack, spill }' "$4/log" | sort
