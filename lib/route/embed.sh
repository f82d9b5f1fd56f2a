#!/bin/sh
# Prints the Lua scripts of a folder as rows {"name", "text"} for C; head.lua stands in front of each.
set -eu
quote() { sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^/    "/' -e 's/$/\\n"/' "$1"; }
for f in "$1"/*.lua; do
    name=$(basename "$f" .lua)
    [ "$name" = head ] && continue
    printf '{"%s",\n' "$name"
    quote "$1/head.lua"
    quote "$f"
    printf '},\n'
done
