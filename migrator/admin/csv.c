#include <stdint.h>
#include <string.h>

#include "csv.h"

/* C0, DEL, and C1 as UTF-8 has it, of which this is the second byte. */
static bool csv_is_control(const char *text, const char *at)
{
    uint8_t c = (uint8_t)*at;

    return c < 0x20 || c == 0x7f || (c >= 0x80 && c < 0xa0 && at > text && (uint8_t)at[-1] == 0xc2);
}

void csv_cell(FILE *f, const char *text, bool last)
{
    fprintf(f, "\"%s", strchr("=+-@\t\r", *text ? *text : 'x') ? "'" : "");
    for (const char *at = text; *at; at++)
        fputs(*at == '"'                 ? "\"\""
              : csv_is_control(text, at) ? ((uint8_t)*at < 0x80 ? "?" : "\xbf") /* U+00BF */
                                         : (char[]){*at, '\0'},
              f);
    fputs(last ? "\"\r\n" : "\",", f);
}
