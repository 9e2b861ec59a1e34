#include "base/duration.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *unit;
    int64_t ns;
} units[] = {
    {"ns", 1}, {"us", 1000}, {"ms", 1000000}, {"s", 1000000000l}, {"min", 60000000000l}, {"h", 3600000000000l},
};

int wedge_duration_parse(const char *text, int64_t *ret_ns)
{
    /* strtod would also take signs, hexadecimal, infinities and leading blanks. */
    size_t digits = strspn(text, "0123456789.");
    char number[32], *end;
    if (!digits || digits >= sizeof(number))
        return -EINVAL;
    memcpy(number, text, digits);
    number[digits] = 0;
    double value = strtod(number, &end);
    if (*end || !isdigit((unsigned char)number[0]))
        return -EINVAL;
    const char *unit = text + digits;
    if (!*unit) {
        if (value != 0)
            return -EINVAL;
        *ret_ns = 0;
        return 0;
    }
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(units[i].unit, unit) != 0)
            continue;
        double ns = value * (double)units[i].ns;
        if (ns > 9.2e18)
            return -ERANGE;
        *ret_ns = (int64_t)(ns + 0.5);
        return 0;
    }
    return -EINVAL;
}

char *wedge_duration_text(int64_t ns, char *buf, size_t size)
{
    if (ns < 1000000)
        snprintf(buf, size, "%.0f us", (double)ns / 1e3);
    else if (ns < 1000000000)
        snprintf(buf, size, "%.0f ms", (double)ns / 1e6);
    else if (ns < 60000000000)
        snprintf(buf, size, "%.2f s", (double)ns / 1e9);
    else
        snprintf(buf, size, "%lld min %lld s", (long long)(ns / 60000000000), (long long)(ns / 1000000000 % 60));
    return buf;
}
