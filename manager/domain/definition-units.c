/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Numbers and units. */
#include "definition-units.h"

#include <errno.h>
#include <string.h>

/* A unit's size in bytes; 0 when there is none of that name. */
static uint64_t unit_size(const char *unit)
{
    static const char prefixes[] = "kmgtpe";

    if (!g_ascii_strcasecmp(unit, "b") || !g_ascii_strcasecmp(unit, "byte") ||
        !g_ascii_strcasecmp(unit, "bytes"))
        return 1;
    const char *prefix = *unit ? strchr(prefixes, g_ascii_tolower(*unit)) : NULL;
    if (!prefix)
        return 0;
    bool decimal = !g_ascii_strcasecmp(unit + 1, "b");
    if (unit[1] && !decimal && g_ascii_strcasecmp(unit + 1, "ib"))
        return 0;
    uint64_t size = 1;
    for (const char *p = prefixes; p <= prefix; p++)
        size *= decimal ? 1000 : 1024;
    return size;
}

static bool take_number(const char *text, uint64_t *number)
{
    char *end;

    while (g_ascii_isspace(*text))
        text++;
    if (!g_ascii_isdigit(*text))
        return false;
    errno = 0;
    *number = g_ascii_strtoull(text, &end, 10);
    while (g_ascii_isspace(*end))
        end++;
    return !*end && !errno;
}

bool units_take_count(const char *text, unsigned *count)
{
    uint64_t number;

    if (!take_number(text, &number) || number > G_MAXUINT)
        return false;
    *count = (unsigned)number;
    return true;
}

bool units_take_kib(const xmlNode *node, uint64_t *kib, GError **error)
{
    g_autofree char *text = xml_text(node), *unit = xml_attribute(node, "unit");
    uint64_t number;

    if (!node)
        return true;
    if (!take_number(text, &number)) {
        manager_error_set(error, MANAGER_ERROR_XML,
                          "Invalid value '%s' for element or attribute './%s[1]'", text,
                          node->name);
        return false;
    }
    uint64_t size = unit ? unit_size(unit) : 1024;
    if (!size) {
        manager_error_set(error, MANAGER_ERROR_INVALID_ARGUMENT, "unknown suffix '%s'", unit);
        return false;
    }
    if (number > G_MAXINT64 / size) {
        manager_error_set(error, MANAGER_ERROR_OVERFLOW, "value too large: %" G_GUINT64_FORMAT "%s",
                          number, unit ? unit : "KiB");
        return false;
    }
    uint64_t bytes = number * size;
    *kib = bytes / 1024 + (bytes % 1024 != 0);
    return true;
}
