# usage.sh SPUTNIK MODEL OUT: says how the compiler refuses command lines, each
# as (arguments): exit status: what is on standard error.
sputnik=$1 model=$2 out=$3
try() {
  local shown=$* argument arguments=()
  for argument in "$@"; do
    argument=${argument/#MODEL/$model}
    arguments+=("${argument/#OUT/$out}")
  done
  local error status=0
  error=$("$sputnik" "${arguments[@]}" 2>&1) || status=$?
  echo "($shown): $status: $error"
}

try
try frob
try compile -o OUT
try compile MODEL
try compile MODEL MODEL -o OUT
for option in --nonsense --target=frob --target=aarch64:frob --target=i386 \
  --target=x86-64-v3+frob --target=aarch64+avx2 --target=aarch64+ \
  --quant=frob --kv=frob --weights=frob --emit=frob --threads=-1 \
  --max-context=x --max-context=-1 -O7 --quant-override=q8; do
  try compile MODEL -o OUT $option
done
try compile MODEL -o OUT --report --emit=regions
try compile MODEL -o ''
try compile MODEL -o -
try inspect
