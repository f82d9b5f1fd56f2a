#!/usr/bin/python3
"""Checks that the code keeps to its layers (README.md in lib/): prints one line a check, and at the end
`layers: N passed, N failed`. The checks are first tried on planted violations: one that finds none is itself broken.

A file may include from its own layer and from those above it in the table, of lib/ any program's file."""

import fnmatch
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# lib/ from the bottom up: files by name without .c or .h. A pattern that names no file yet is a place kept free.
LAYERS = [
    ("base", ["base", "log", "buf", "buf_room", "digits", "base64", "percent", "fnv", "manual", "xalloc", "process", "privileges", "sandbox", "sandbox_*", "reasons", "metrics", "metrics_*", "fault", "turns", "outage"]),
    ("wire", ["imap_*", "mutf7", "sasl", "sasl_*", "proxyproto", "cert_names", "netstring", "pop3", "pop3_uidl"]),
    ("view", ["view", "view_*"]),
    ("conf", ["address", "cidr", "options", "account", "conf", "conf_*", "leave_out", "window", "migration_rules", "account_names", "waves"]),
    ("io", ["loop", "signals", "watchdog", "keepalive", "stream", "tls", "tls_*", "deflate", "lookup", "dial", "reach", "http_*"]),
    ("store", ["redis", "redis_*", "sentinel", "cluster", "cluster_*", "store", "store_*", "stores", "route", "route_*", "registry", "registry_*", "instance", "events", "jobs", "seal", "tokens", "trial"]),
    ("dialog", ["backend_login", "login_who", "login_dialog", "pop3_login", "health", "learner"]),
]
RANK = {name: rank for rank, (name, _) in enumerate(LAYERS)}

# Which folders of ours a file may include from, besides its own and lib/. The migrator's are floors: each stands on those
# above it in this table.
PROGRAMS = {
    "proxy": [],
    "proxy/delivery": [],
    "proxy/pop3": [],
    "migrator/found": [],
    "migrator/imap": ["found"],
    "migrator/mailbox": ["found", "imap"],
    "migrator/site": ["found", "imap"],
    "migrator/account": ["found", "imap", "mailbox", "site"],
    "migrator/late": ["found", "imap", "mailbox", "site", "account"],
    "migrator/job": ["found", "imap", "mailbox", "site", "account", "late"],
    "migrator/admin": ["found", "mailbox", "site", "account"],
    "migrator/api": ["admin"],
    "migrator": ["site", "account", "late", "job", "api"],
}

# What is no floor of the migrator's, and stands on another folder.
STANDS_ON = {"proxy": ["proxy/delivery"], "proxy/pop3": ["proxy"]}

# System headers that a pure layer may have: no descriptors, no clock, no sockets. (arpa/inet.h is for inet_pton() and inet_ntop().)
PURE_LAYERS = ("wire", "view")
PURE_HEADERS = set("arpa/inet.h assert.h ctype.h errno.h inttypes.h limits.h stdarg.h stdbool.h stddef.h stdint.h stdio.h "
                   "stdlib.h string.h strings.h sys/queue.h uthash.h".split())

# Libraries that one file alone includes, so that it can be exchanged there.
PRIVATE = [
    ("OpenSSL's SSL", r"openssl/(ssl\d?|tls1|dtls1|bio|err)\.h", ["lib/tls.c", "lib/tls_priv.h", "lib/tls_policy.c", "lib/tls_server.c", "lib/tls_client.c", "lib/tls_tickets.c", "lib/tls_peer.c"]),
    ("hiredis", r"hiredis/.*", ["lib/redis.c"]),
    ("libconfuse", r"confuse\.h", ["lib/conf.c"]),
    ("libcurl", r"curl/.*", ["migrator/site/http_post.c"]),
    ("libmicrohttpd", r"microhttpd\.h", ["lib/http_server.c", "lib/http_request.c", "lib/http_stream.c", "lib/http_blob.c", "lib/http_priv.h"]),
]
GENERATED = {"route_scripts.h": "store", "page_files.h": None}  # for lib/: of which layer; None: of a program

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def read_tree():
    """Path below the root -> text, of every C file of the programs."""
    files = {}
    for top in ("lib", "proxy", "migrator"):
        for folder, _, names in os.walk(os.path.join(ROOT, top)):
            for name in names:
                if name.endswith((".c", ".h")):
                    path = os.path.join(folder, name)
                    with open(path, encoding="utf-8") as f:
                        files[os.path.relpath(path, ROOT)] = f.read()
    return files


def layers_of(path):
    """The layers whose table a file of lib/ stands in; an exact name goes before a pattern."""
    stem = os.path.splitext(os.path.basename(path))[0]
    exact = [name for name, stems in LAYERS if stem in stems]
    return exact or [name for name, stems in LAYERS if any(fnmatch.fnmatch(stem, s) for s in stems)]


def resolve(path, name, files):
    """The file of ours that an include in quotes means; None where there is none."""
    for candidate in (os.path.normpath(os.path.join(os.path.dirname(path), name)), name, "lib/" + name):
        if candidate in files:
            return candidate
    return None


def own_includes(files):
    """(including file, included file, as written) for every include in quotes that is not generated."""
    for path, text in sorted(files.items()):
        for quote, name in INCLUDE.findall(text):
            if quote == '"' and os.path.basename(name) not in GENERATED:
                yield path, resolve(path, name, files), name


def check_every_file_has_a_layer(files):
    for path in sorted(files):
        if path.startswith("lib/") and len(layers_of(path)) != 1:
            yield "%s stands in %d layers: %s" % (path, len(layers_of(path)), layers_of(path))


def check_includes_are_found(files):
    for path, target, name in own_includes(files):
        if target is None:
            yield '%s includes "%s", which is no file of ours' % (path, name)


def check_lib_includes_upwards_only(files):
    for path, target, _ in own_includes(files):
        if not path.startswith("lib/") or not (target or "").startswith("lib/"):
            continue
        mine, theirs = layers_of(path), layers_of(target)
        if len(mine) == len(theirs) == 1 and RANK[theirs[0]] > RANK[mine[0]]:
            yield "%s (%s) includes %s (%s)" % (path, mine[0], target, theirs[0])
    for path, text in sorted(files.items()):
        for _, name in INCLUDE.findall(text):
            layer = GENERATED.get(os.path.basename(name))
            if layer and (not path.startswith("lib/") or layers_of(path) != [layer]):
                yield "%s includes %s, which belongs to %s" % (path, name, layer)


def check_lib_knows_no_program(files):
    for path, target, _ in own_includes(files):
        if path.startswith("lib/") and target and not target.startswith("lib/"):
            yield "%s includes %s" % (path, target)


def check_programs_know_lib_and_the_floors_below(files):
    for path, target, _ in own_includes(files):
        folder = os.path.dirname(path)
        if folder == "lib" or target is None or target.startswith("lib/"):
            continue
        if folder not in PROGRAMS:
            yield "%s is in a folder without a rule" % path
        elif os.path.dirname(target) not in [folder] + ["migrator/" + floor for floor in PROGRAMS[folder]] + STANDS_ON.get(folder, []):
            yield "%s includes %s" % (path, target)


def check_insides_stay_inside(files):
    """x_priv.h is for the files named x.c and x_*.c beside it."""
    for path, target, _ in own_includes(files):
        if target and target.endswith("_priv.h"):
            owner = target[: -len("_priv.h")]
            if not re.fullmatch(re.escape(owner) + r"(_.*)?\.[ch]", path):
                yield "%s includes %s" % (path, target)


DEFINES = re.compile(r"^(?!static\b|typedef\b|extern\b)[a-z][\w \t*]*?\b(\w+)\([^;{}]*\)\s*^\{", re.M)
NOT_CODE = re.compile(r'/\*.*?\*/|"(?:\\.|[^"\\\n])*"|//[^\n]*', re.S)


def calls_between(files):
    """Of the C files of the migrator: path -> {path of a file whose function it uses: the functions}."""
    code = {p: NOT_CODE.sub(" ", t) for p, t in files.items() if p.startswith("migrator/") and p.endswith(".c")}
    home = {name: path for path, text in sorted(code.items()) for name in DEFINES.findall(text) if name != "main"}
    graph = {path: {} for path in code}
    for path, text in sorted(code.items()):
        for name in set(re.findall(r"\b\w+\b", text)) & set(home):
            if home[name] != path:
                graph[path].setdefault(home[name], set()).add(name)
    return graph


def check_no_circle_among_files(files):
    """Whoever reads a file of the migrator need not have read those that call it: files can be put in an order in which
    each uses only those before it."""
    graph = calls_between(files)
    while graph:
        ends = [path for path, uses in graph.items() if not set(uses) & set(graph)]
        ends = ends or [p for p in graph if not any(p in uses for uses in graph.values())]
        if not ends:
            break
        for path in ends:
            del graph[path]
    for path, uses in sorted(graph.items()):
        for target in sorted(set(uses) & set(graph)):
            yield "in a circle: %s uses %s of %s" % (path, ", ".join(sorted(uses[target])), target)


def check_pure_layers_do_no_io(files):
    for path, text in sorted(files.items()):
        if path.startswith("lib/") and layers_of(path) and layers_of(path)[0] in PURE_LAYERS:
            for quote, name in INCLUDE.findall(text):
                if quote == "<" and name not in PURE_HEADERS:
                    yield "%s includes <%s>" % (path, name)


def check_libraries_have_one_door(files):
    for path, text in sorted(files.items()):
        for _, name in INCLUDE.findall(text):
            for library, pattern, doors in PRIVATE:
                if re.fullmatch(pattern, name) and path not in doors:
                    yield "%s includes %s: %s is for %s alone" % (path, name, library, ", ".join(doors))


# A name of a static function that two files share names no module in a backtrace. Of a hundred such functions so many may.
SHARED_NAMES_PERCENT = 1
STATIC_FUNCTION = re.compile(r"^static\s(?:[^;={}()]*?[\s*])?(\w+)\s*\(", re.M)


def check_static_functions_are_named_after_their_module(files):
    owners = {}
    for path, text in sorted(files.items()):
        if path.endswith(".c"):
            for name in set(STATIC_FUNCTION.findall(text)):
                owners.setdefault(name, []).append(path)
    shared = {name: paths for name, paths in sorted(owners.items()) if len(paths) > 1}
    count = sum(len(paths) for paths in shared.values())
    if count * 100 > SHARED_NAMES_PERCENT * sum(len(paths) for paths in owners.values()):
        yield "%d static functions share their name with another file's" % count
        for name, paths in shared.items():
            yield "%s stands in %s" % (name, ", ".join(paths))


CHECKS = [check for name, check in sorted(globals().items()) if name.startswith("check_")]

# For each check, a small tree that it must object to, on top of one that none objects to.
SOUND = {
    "lib/base.h": "#include <stdint.h>\n",
    "lib/imap_tok.c": '#include "base.h"\n#include <string.h>\n',
    "lib/conf.h": '#include "base.h"\n',
    "lib/conf_priv.h": '#include "conf.h"\n',
    "lib/conf.c": '#include <confuse.h>\n#include "conf_priv.h"\n',
    "lib/store.h": '#include "conf.h"\n',
    "lib/store.c": '#include "store.h"\n#include "route_scripts.h"\n',
    "lib/tls.c": "#include <openssl/ssl.h>\n",
    "lib/seal.c": "#include <openssl/evp.h>\n",
    "proxy/session.h": '#include "lib/store.h"\n',
    "proxy/main.c": '#include "session.h"\n',
    "migrator/imap/pace.h": '#include "lib/conf.h"\n',
    "migrator/mailbox/copy.c": '#include "migrator/imap/pace.h"\nint copy_n(void)\n{\n    return outbox_n();\n}\n',
    "migrator/mailbox/pair.c": "int pair_n(void)\n{\n    return 0;\n}\n",
    "migrator/mailbox/outbox.c": "int outbox_n(void)\n{\n    return pair_n(); /* copy_n() calls it */\n}\n",
    "migrator/site/journal.h": "",
    "migrator/main.c": '#include "migrator/site/journal.h"\n',
}
PLANTED = {
    check_every_file_has_a_layer: {"lib/stray.h": ""},
    check_includes_are_found: {"proxy/relay.c": '#include "lib/nothing.h"\n'},
    check_lib_includes_upwards_only: {"lib/imap_cmd.c": '#include "conf.h"\n'},
    check_lib_knows_no_program: {"lib/events.c": '#include "proxy/session.h"\n'},
    check_programs_know_lib_and_the_floors_below: {"migrator/mailbox/ledger.c": '#include "migrator/site/journal.h"\n'},
    check_insides_stay_inside: {"proxy/relay.c": '#include "lib/conf_priv.h"\n'},
    check_no_circle_among_files: {"migrator/mailbox/pair.c": "int pair_n(void)\n{\n    return copy_n();\n}\n",
                                  "migrator/mailbox/copy.c": "int copy_n(void)\n{\n    return pair_n();\n}\n"},
    check_pure_layers_do_no_io: {"lib/view_uid.c": "#include <unistd.h>\n"},
    check_libraries_have_one_door: {"lib/seal.c": "#include <openssl/ssl.h>\n"},
    check_static_functions_are_named_after_their_module: {
        "proxy/relay.c": "static void finish(int n)\n{\n}\n",
        "lib/dial.c": "static inline struct dial *\nfinish(void)\n{\n}\n",
    },
}


def check_the_checks():
    for check in CHECKS:
        for problem in check(SOUND):
            yield "%s objects to a sound tree: %s" % (check.__name__, problem)
        if not list(check({**SOUND, **PLANTED[check]})):
            yield "%s does not find what was planted" % check.__name__


def main():
    files = read_tree()
    passed = failed = 0
    for check in CHECKS + [None]:
        title = (check or check_the_checks).__name__.replace("check_", "", 1).replace("_", " ")
        problems = list(check(files) if check else check_the_checks())
        if check and not files:
            problems.append("there are no files to check")
        print("%s - %s" % ("FAILED" if problems else "ok", title))
        for problem in problems:
            print("    " + problem)
        passed, failed = (passed, failed + 1) if problems else (passed + 1, failed)
    print("layers: %d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
