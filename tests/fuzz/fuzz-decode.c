/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fuzzes the decoder: the first byte chooses mode and page offset, the rest is the instruction.
 * AddressSanitizer sees reads beyond the bytes given; what the contract promises is checked here.
 * Build: clang -fsanitize=fuzzer,address,undefined, with processor/decode's files.
 */
#include "processor/decode/decode.h"

#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_instruction(const struct insn *i)
{
    CHECK(i->opsize == 1 || i->opsize == 2 || i->opsize == 4 || i->opsize == 8);
    CHECK(i->addrsize == 2 || i->addrsize == 4 || i->addrsize == 8);
    CHECK(i->base < REG_SLOTS && i->index < REG_SLOTS && i->scale < 4 && i->seg <= SEG_GS);
    CHECK((i->reg & ~REG_HIGH) < 16 && (i->rm & ~REG_HIGH) < 16);
    int memory = insn_memory_operand(i);
    CHECK(memory >= -1 && memory < 4 && insn_has_memory(i) == (memory >= 0));
    for (unsigned n = 0; n < 4; n++)
        if (i->attr->operand[n].kind != OPERAND_NONE)
            CHECK(insn_operand_size(i, n) <= 32);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct insn whole, again;
    if (size < 2)
        return 0;
    enum decode_mode mode = (enum decode_mode)(data[0] % 3);
    uint16_t offset = (uint16_t)(data[0] << 4);
    data++;
    size--;
    enum decode_result result = insn_decode(data, size, mode, offset, &whole);
    CHECK(result != DECODE_MORE || size < 15);
    if (result == DECODE_MORE || result == DECODE_TOO_LONG)
        return 0;
    CHECK(whole.length >= 1 && whole.length <= 15 && whole.length <= size);
    CHECK(whole.attr != NULL && whole.exec == NULL && whole.offset == offset);
    CHECK((result == DECODE_INVALID) == (whole.attr->class == CLASS_INVALID));
    if (result == DECODE_OK)
        check_instruction(&whole);
    /* Exactly its bytes decode to the same; any fewer are not enough. */
    uint8_t *exact = malloc(whole.length);
    CHECK(exact != NULL);
    memcpy(exact, data, whole.length);
    CHECK(insn_decode(exact, whole.length, mode, offset, &again) == result);
    CHECK(memcmp(&whole, &again, sizeof(whole)) == 0);
    free(exact);
    for (size_t part = 0; part < whole.length && result == DECODE_OK; part++) {
        exact = malloc(part ? part : 1);
        CHECK(exact != NULL);
        memcpy(exact, data, part);
        CHECK(insn_decode(exact, part, mode, offset, &again) == DECODE_MORE);
        free(exact);
    }
    return 0;
}
