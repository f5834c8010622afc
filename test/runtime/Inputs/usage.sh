# Tries one command line after another: exit status, lines on standard error.
try() {
  errors=$("$program" "$@" 2>&1 >/dev/null </dev/null)
  status=$?
  if [ -z "$errors" ]; then
    lines="0 lines"
  elif [ "$(printf '%s\n' "$errors" | wc -l)" -eq 1 ]; then
    lines="1 line"
  else
    lines="many lines: $errors"
  fi
  echo "($*): $status, $lines"
}
program=$1
try
try run
try run a b
try a -p b
try run -p a --ids 1
try run --ids 1,,2
try run --ids -1
try run --ids 99999999999999999999
try run --ids '1;2'
try run --ids 0x1
try run --ids
try run a -n -1
try run a -n 99999999999999999999
try run a -n 1 -n 2
try run a --temp nan
try run a --temp inf
try run a --temp -1
try run a --top-p 1.5
try run a --top-k -1
try run a --seed -1
try run a --seed 18446744073709551616
try run a --draft 0
try run a --draft yes
try run a --threads 0
try run a --threads 1025
try run a --threads two
try run a --numa 1
try bench --numa maybe
try run a --frobnicate
try logits --ids 1
try logits -o x
try score
try bench --repeat 0
try bench --gen 0
try info extra
try tokenize --ids 1 --bos
try --nonsense
try -h
try --help
try --version
try run --help
