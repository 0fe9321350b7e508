/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Domain XML of a hostile client.  What is accepted can be defined again without a change. */
#include "manager/domain/definition.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *xml = g_strndup((const char *)data, size);
    struct definition *d = definition_parse(xml, "/bin/true", 0, NULL);

    if (!d)
        return 0;
    g_autofree char *once = definition_format(d, true);
    struct definition *again = definition_parse(once, "/bin/true", 0, NULL);

    g_assert_nonnull(again);
    g_autofree char *twice = definition_format(again, true);
    g_assert_cmpstr(once, ==, twice);
    definition_check_start(d, NULL);
    definition_make_live(d, 1);
    definition_set_pty(d, "serial0", "/dev/pts/1");
    struct definition *copy = definition_copy(d);
    g_assert_nonnull(copy);
    g_free(definition_console_path(copy, NULL, NULL));
    definition_set_metadata(copy, 2, xml, "k", "http://k", NULL);
    g_free(definition_metadata(copy, 2, "http://k", NULL));
    definition_free(copy);
    definition_free(again);
    definition_free(d);
    return 0;
}
