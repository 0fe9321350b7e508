/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A log sink.  Parts below the seam never print: they hand lines to the sink that their creator
 * gave them, and a NULL sink drops them.
 */
#ifndef TRAPEZE_LOG_H
#define TRAPEZE_LOG_H

#include "base.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

struct log_sink {
    void (*line)(void *opaque, enum log_level level, const char *text);
    void *opaque;
};

/* Formats one line (no newline) and hands it to SINK; longer than 500 bytes is cut. */
void log_line(const struct log_sink *sink, enum log_level level, const char *format, ...)
    FORMAT_PRINTF(3, 4);

#endif
