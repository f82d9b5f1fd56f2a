#!/bin/sh
# Prints the library of functions for C: its name, its text, and which function each script is. embed.sh FOLDER VERSION
set -eu
library=$(sh "$1/library.sh" "$1" "$2")
name=$(printf '%s\n' "$library" | sed -n '1s/.*name=//p')
printf 'static const char library_own_name[] = "%s";\n' "$name"
printf 'static const struct function functions[] = {\n'
printf '%s\n' "$library" | sed -n "s/^redis\.register_function{function_name = '\(imapferry_[0-9a-f]*_\)\([a-z_]*\)'.*/    {\"\2\", \"\1\2\"},/p"
printf '};\nstatic const char library_text[] =\n'
printf '%s\n' "$library" | sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^/    "/' -e 's/$/\\n"/'
printf ';\n'
