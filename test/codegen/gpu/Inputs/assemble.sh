#!/bin/sh
# assemble.sh SPUTNIK PTXAS MODEL FOLDER CHIP SCHEME [OPTION]: assembles a model's
# kernels and prints what each needs.
set -eu
"$1" compile "$3" --weights=random --target="$5" --quant="$6" ${7:+"$7"} --emit=asm -o "$4/k.ptx"
"$2" -v -arch="$5" "$4/k.ptx" -o "$4/k.cubin" 2> "$4/log" || { cat "$4/log"; exit 1; }
awk '/Function properties for/ { kernel = $NF }
     / stack frame/ { stack = $1; spill = $5 }
     / registers/ { for (i = 1; i < NF; ++i) if ($(i + 1) ~ /^registers/) used = $i
                    printf "%s: %d registers, %d bytes stack, %d bytes spilled\n",
                           kernel, used, stack, spill }' "$4/log" | sort
