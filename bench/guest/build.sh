#!/bin/sh
# usage: build.sh SOURCE-FOLDER OUTPUT: the bare-machine benchmark as a multiboot image.
set -eu
source=$1 output=$2
${CC:-gcc} -m64 -O2 -ffreestanding -fno-pic -mno-red-zone -fno-stack-protector -fno-builtin \
    -fno-asynchronous-unwind-tables -fno-tree-vectorize -Wall -Wextra -Wno-main -nostdlib -static -no-pie \
    -Wl,-T,"$source/link.ld" -Wl,--build-id=none -Wl,-z,max-page-size=4096 -Wl,--no-warn-rwx-segments \
    -o "$output.elf64" "$source/start.S" "$source/workloads.c"
objcopy -O elf32-i386 "$output.elf64" "$output"
rm "$output.elf64"
