/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Errors of the manager: the usual words of each number. */
#include "manager/error.h"

GQuark manager_error_quark(void)
{
    return g_quark_from_static_string("trapeze-manager-error");
}

/* What clients of libvirt print for a number: WORDS alone, or BEFORE and AFTER around a detail. */
static const struct words {
    enum manager_error code;
    const char *words, *before, *after;
} usual[] = {
    {MANAGER_ERROR_INTERNAL, "internal error", "internal error: ", ""},
    {MANAGER_ERROR_NO_SUPPORT, "this function is not supported by the connection driver",
     "this function is not supported by the connection driver: ", ""},
    {MANAGER_ERROR_INVALID_ARGUMENT, "invalid argument", "invalid argument: ", ""},
    {MANAGER_ERROR_OPERATION_FAILED, "operation failed", "operation failed: ", ""},
    {MANAGER_ERROR_NO_SOURCE, "missing source information for device", "", ""},
    {MANAGER_ERROR_NO_TARGET, "missing target information for device", "", ""},
    {MANAGER_ERROR_NO_NAME, "missing name information", "", ""},
    {MANAGER_ERROR_OVERFLOW, "numerical overflow", "numerical overflow: ", ""},
    {MANAGER_ERROR_XML_SCHEMA, "XML document failed to validate against schema",
     "XML document failed to validate against schema: ", ""},
    {MANAGER_ERROR_XML, "XML description is invalid or not well formed", "XML error: ", ""},
    {MANAGER_ERROR_DOMAIN_EXISTS, "this domain exists already", "domain ", " exists already"},
    {MANAGER_ERROR_OPERATION_DENIED, "operation forbidden", "operation forbidden: ", ""},
    {MANAGER_ERROR_SYSTEM, "system call error", "", ""},
    {MANAGER_ERROR_RPC, "RPC error", "", ""},
    {MANAGER_ERROR_NO_DOMAIN, "Domain not found", "Domain not found: ", ""},
    {MANAGER_ERROR_NO_NETWORK, "Network not found", "Network not found: ", ""},
    {MANAGER_ERROR_NO_POOL, "Storage pool not found", "Storage pool not found: ", ""},
    {MANAGER_ERROR_NO_VOLUME, "Storage volume not found", "Storage volume not found: ", ""},
    {MANAGER_ERROR_OPERATION_INVALID, "Requested operation is not valid",
     "Requested operation is not valid: ", ""},
    {MANAGER_ERROR_CONFIG_UNSUPPORTED, "unsupported configuration",
     "unsupported configuration: ", ""},
    {MANAGER_ERROR_OPERATION_TIMEOUT, "Timed out during operation",
     "Timed out during operation: ", ""},
    {MANAGER_ERROR_ARGUMENT_UNSUPPORTED, "argument unsupported", "argument unsupported: ", ""},
    {MANAGER_ERROR_NO_METADATA, "metadata not found", "metadata not found: ", ""},
    {MANAGER_ERROR_XML_DETAIL, "XML description is invalid or not well formed", "", ""},
};

static const struct words *find(enum manager_error code)
{
    for (size_t i = 0; i < G_N_ELEMENTS(usual); i++)
        if (usual[i].code == code)
            return &usual[i];
    return &usual[0];
}

static GError *new_valist(enum manager_error code, const char *format, va_list arguments)
{
    const struct words *words = find(code);

    if (!format)
        return g_error_new_literal(MANAGER_ERROR, (int)code, words->words);
    g_autofree char *detail = g_strdup_vprintf(format, arguments);
    return g_error_new(MANAGER_ERROR, (int)code, "%s%s%s", words->before, detail, words->after);
}

GError *manager_error_new(enum manager_error code, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    GError *error = new_valist(code, format, arguments);
    va_end(arguments);
    return error;
}

void manager_error_set(GError **error, enum manager_error code, const char *format, ...)
{
    va_list arguments;

    if (!error)
        return;
    va_start(arguments, format);
    g_propagate_error(error, new_valist(code, format, arguments));
    va_end(arguments);
}
