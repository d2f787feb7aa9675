#!/bin/sh
# Compiles the kernel programs into build/, those only whose sources are newer. Needs clang, LLVM's
# strip and libbpf's headers; nothing of the running kernel.
set -eu
cd "$(dirname "$0")/.."
# Debian keeps <asm/types.h> in a folder per architecture, which clang does not search for -target bpf.
multiarch=/usr/include/$(uname -m)-linux-gnu
strip=$(command -v llvm-strip || ls /usr/bin/llvm-strip-* /usr/lib/llvm-*/bin/llvm-strip 2>/dev/null | tail -n 1)
mkdir -p build
for program in tunnel client; do
  object=build/$program.bpf.o
  if [ -e "$object" ] && [ -z "$(find bpf tools/build-bpf.sh \( -name '*.[ch]' -o -name '*.sh' \) -newer "$object")" ]; then
    continue
  fi
  # Under another name until it is whole: somebody may be loading it.
  partial=$(mktemp "build/.$program.XXXXXX")
  trap 'rm -f "$partial"' EXIT
  clang -O2 -g -Wall -Wextra -Werror -target bpf -mcpu=v3 -I"$multiarch" \
    -c "bpf/$program.bpf.c" -o "$partial"
  "$strip" -g "$partial" # keeps .BTF, which defines the maps
  chmod 644 "$partial"
  mv "$partial" "$object"
done
