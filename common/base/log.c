/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>

void log_line(const struct log_sink *sink, enum log_level level, const char *format, ...)
{
    if (!sink || !sink->line)
        return;
    char text[500];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    sink->line(sink->opaque, level, text);
}
