#!/bin/sh
# Prints the library of Redis functions that the scripts of a folder are: library.sh FOLDER VERSION. head.lua is run once, at the
# first call of any of them, since a library that is being loaded has no redis.call; each other file is a function within it.
# The name says the release, for people and for the order of releases, and a hash of all that stands here: what has the same
# name is the same library, so that none is ever replaced by another one, and each program calls what it was built with.
set -eu
folder=$1
release=$(printf %s "$2" | tr -c A-Za-z0-9 _)
names=$(cd "$folder" && LC_ALL=C ls -- *.lua | sed -e 's/\.lua$//' -e /^head$/d)

scripts() {
    printf 'local function make()\n'
    cat "$folder/head.lua"
    printf '\nlocal F = {}\n'
    for name in $names; do
        printf '\nF.%s = function()\n' "$name"
        cat "$folder/$name.lua"
        printf 'end\n'
    done
    cat <<'LUA'

return begin, F
end

local begin, F
local function run(name)
    return function(keys, argv)
        if not F then begin, F = make() end
        begin(keys, argv)
        return F[name]()
    end
end

LUA
}

hash=$({ scripts; cat -- "$folder/library.sh"; printf %s "$release"; } | sha256sum | cut -c1-8)
printf '#!lua name=imapferry_%s_%s\n' "$release" "$hash"
scripts
for name in $names; do
    flags=$(sed -n -e "s/^-- flags: \(.*\)/'\1'/p" "$folder/$name.lua")
    printf "redis.register_function{function_name = 'imapferry_%s_%s', callback = run('%s'), flags = {%s}}\n" \
        "$hash" "$name" "$name" "$flags"
done
