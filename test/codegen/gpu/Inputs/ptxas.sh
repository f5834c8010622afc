#!/bin/sh
# ptxas.sh -arch=CHIP INPUT -o OUTPUT: an assembler that does what SAYS says.
case $SAYS in
cubin) echo "cubin for $1" > "$4" ;;
error)
  echo "ptxas $2, line 9; fatal   : Unsupported .version 7.4; current version is '7.0'" >&2
  echo "ptxas fatal   : Ptx assembly aborted due to errors" >&2
  exit 255 ;;
nothing) exit 3 ;;
esac
