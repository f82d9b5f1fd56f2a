#!/bin/sh
# Prints the files that are its arguments as C: `static const struct page_file page_file_NAME_EXT = {text, length};` for each.
set -eu
printf 'static const struct page_file {\n    const char *text;\n    size_t len;\n}\n'
first=
for file; do
    name=$(basename "$file" | tr -c 'A-Za-z0-9\n' _)
    [ -z "$first" ] || printf ','
    first=no
    printf ' page_file_%s = {\n' "$name"
    sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/?/\\?/g' -e 's/^/    "/' -e 's/$/\\n"/' "$file"
    printf ', %s}\n' "$(wc -c <"$file")"
done
printf ';\n'
