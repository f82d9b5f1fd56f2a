# make                  the three programs, into build/
# make deps-build       the packages that a build needs, in one apt call (root or sudo)
# make deps             those for running and testing too
# make demo             a migration to watch, on private servers; ONCE=1 ends after the flip
# make check            all tests on a build with ASan and UBSan; ONLY=unit,e2e runs some (see tests/run.py)
# make check-fresh      make demo and make check on bare Debian 12 and 13 (root; see tests/fresh.sh); ONLY=trixie
# make check-long       what make check leaves out of tests/e2e: more servers, seeds and moments (tests/e2e/long_cases.py)
# make check-valgrind   both daemons through a migration under valgrind
# make check-tsan       a proxy of several threads under ThreadSanitizer, with all going on at once; SECONDS=60 (tests/tsan.py)
# make check-faults     cut-overs under load, a fault in each; RUNS=N of them, SEED=S replays, STORE=several or cluster (see tests/faults/)
# make check-crash      a migrator killed, stopped and cut off at each of its steps; RUNS=N draws N cases, SEED=N repeats
# make bench-migrate    how long an account takes, beside other engines; RUNS=1 ONLY=small,20 (see tests/bench/bench.py)
# make bench-cutover    what a client waits while its account is switched over; RUNS= SESSIONS= (see tests/bench/cutover.py)
# make bench-failover   100,000 sessions register after a failover; SESSIONS= THREADS= LEASE=ms BEFORE=1 (see tests/unit/test_failover.c)
# make bench-lmtp       CPU of a message by LMTP beside Dovecot; MESSAGES= ROUNDS= (see tests/bench/lmtp.py)
# make bench-late       looks a second at what accounts have left; LOOKS= ACCOUNTS= CONNECTIONS= (see tests/bench/late.py)
# make bench-store      what Redis does for a login, a session, a migration, and what is full first; LOGINS= BEFORE= (tests/bench/store.py)
# make bench-scale      how far one Redis goes: CPU and memory for each thing that a large site does, and how many stores sites need;
#                       ACCOUNTS= SESSIONS= PROXIES= THREADS= LOGINS= FLIPS= SECONDS= (see tests/bench/scale.py)
# make bench-view       what the relay takes where UIDs are mapped, beside a session without; MESSAGES= ROUNDS= (tests/bench/view.py)
# make bench-page     what the page and its API take on a site of 100,000 accounts; ACCOUNTS= ROUNDS= (see tests/bench/page.py)
# make bench-flood      what sessions and logins wait while strangers flood the proxy; SECONDS= ONLY= (see tests/bench/flood.py)
# make bench-compress   what COMPRESS=DEFLATE costs the proxy and saves clients; MIB= SESSIONS= (see tests/bench/compress.py)
# make bench-proxy      what a login, a byte, a session and a round trip cost beside nginx, Dovecot, perdition and haproxy;
#                       ONLY= WHAT= ROUNDS= LOGINS= SESSIONS= MIB= BEFORE=FOLDER OUT=FILE.svg (see tests/bench/proxy.py)
# make bench-wire       the transcripts of tests/transcripts against nginx, Dovecot and perdition too, and who answers what;
#                       ONLY= FILES= WHY=1 (see tests/bench/wire.py)
# make fuzz             each parser of what a peer sends, under libFuzzer; SECONDS=600 each, ONLY=tok,cmd (see tests/fuzz/run.py)
# make check-account    an account of 20,000 messages with every oddity, between Courier, Cyrus and Dovecot; MESSAGES=N
# make check-view       mail programs before and after moves; random commands to moved accounts and to copies that stayed;
#                       RUNS=N SEED=S MESSAGES=N ONLY=clients,WORLD,... (see tests/view/)
# make check-huge       memory with a message of 1 GiB and a mailbox of 500,000; ONLY=mailbox MIB= MESSAGES= (see tests/huge.py)
# make check-crowd      a million logins in the memory of a hundred thousand, and 18,000 sessions over 1,000 flips; ONLY=crowd
#                       LOGINS= SESSIONS= FLIPS= (see tests/crowd.py)
# make check-model      the model of the cut-over, explored by spin; ONLY=NAME runs one search (see tests/model/)
# make install          DESTDIR= PREFIX= ETC= (of /etc) UNIT= (of systemd's units)
# make deb              a Debian package, for the Debian that this runs on, in build/deb (see conf/debian)
# make check-deb        that on bare Debian 12 and 13: install, upgrade under load, remove, purge (root; tests/deb.sh); ONLY=trixie
# make check-docker     the images of docker/ built, and each service of its compose file run, by buildah and podman (root; tests/docker.sh)
# make check-walk       the handbook from bare Debian systems to the day on which the old server is off (root; tests/walk.py); ONLY=trixie
# make clean
#
# SAN=1 builds with ASan, UBSan and fault points (FAULTS=1, see lib/fault.h) into build/san, SAN=thread with TSan into build/tsan;
# WERROR=1 makes warnings errors. BUILD=DIR builds elsewhere.

PREFIX  ?= /usr/local
DESTDIR ?=
ETC     ?= /etc
UNIT    ?= $(PREFIX)/lib/systemd/system
VERSION := 0.1.0
# The day of this version, which manual pages show.
RELEASED := 2026-11-30
# Debian's own: its modules are what the tests use.
PYTHON  := /usr/bin/python3
CC      ?= cc

ifeq ($(SAN),1)
FAULTS  ?= 1
BUILD   ?= build/san
OPT     := -O1 -g1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
LDFLAGS += $(if $(shell command -v ld.gold),-fuse-ld=gold)# a third of the time, and there are 140 programs to link
else ifeq ($(SAN),thread)
BUILD   ?= build/tsan
OPT     := -O1 -g -fsanitize=thread -fno-omit-frame-pointer
else
BUILD   ?= build
OPT     := -O2 -g
HARDEN  := -D_FORTIFY_SOURCE=2 -fstack-protector-strong
endif

# One spelling of one folder: what names the headers of an object (-MMD) has it as it is given here.
BUILD_GIVEN := $(filter command line,$(origin BUILD))
override BUILD := $(patsubst $(CURDIR)/%,%,$(abspath $(BUILD)))

PKGS    := libuv libssl libcrypto hiredis libconfuse jansson zlib libcurl libmicrohttpd
CFLAGS  ?= $(OPT) $(HARDEN)
WARN    := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wvla
ifeq ($(FAULTS),1)
DEFS    := -DIMAPFERRY_FAULTS
endif
ifeq ($(WERROR),1)
WARN    += -Werror
endif
SYSTEMD := $(shell pkg-config --exists libsystemd 2>/dev/null && echo -DHAVE_SYSTEMD $$(pkg-config --cflags libsystemd))
ALL_CFLAGS = -std=gnu11 $(CFLAGS) $(WARN) -D_GNU_SOURCE -DIMAPFERRY_VERSION='"$(VERSION)"' \
             -DIMAPFERRY_RELEASED='"$(RELEASED)"' $(SYSTEMD) $(DEFS) \
             -I. -I$(BUILD)/gen $(PKG_CFLAGS)
# Asked for once, and not for each file.
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
# Each program loads the libraries that it calls: libcurl alone brings thirty more, which the proxy has no use for.
LIBS    := -Wl,--as-needed $(shell pkg-config --libs $(PKGS) 2>/dev/null) $(if $(SYSTEMD),$(shell pkg-config --libs libsystemd)) -lpthread

# A folder that has no C file is a mistake of this list.
c_files = $(or $(wildcard $(1)/*.c),$(error $(1) has no C files))

LIB_SRC      := $(call c_files,lib)
PROXY_SRC    := $(call c_files,proxy) $(call c_files,proxy/delivery) $(call c_files,proxy/pop3)
# The migrator's floors from the bottom up (migrator/README.md).
FLOORS       := found imap mailbox site account late job
FLOOR_SRC    := $(foreach floor,$(FLOORS),$(call c_files,migrator/$(floor)))
MIGRATOR_SRC := $(call c_files,migrator)
ADMIN_SRC    := $(call c_files,migrator/admin)
API_SRC      := $(call c_files,migrator/api)
PAGE_FILES   := $(wildcard migrator/page/*.html migrator/page/*.css migrator/page/*.js migrator/page/*.svg) migrator/api/openapi.json
UNIT_SRC     := $(wildcard tests/unit/test_*.c)
obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

PROGRAMS := $(BUILD)/imapferry-proxy $(BUILD)/imapferry-migrator $(BUILD)/imapferryctl
UNITS    := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(UNIT_SRC))
FUZZERS  := $(patsubst tests/fuzz/fuzz_%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))

all: $(PROGRAMS)

# Says it before a compiler does, by the first header that it misses.
packages:
	@command -v $(firstword $(CC)) >/dev/null && pkg-config --exists $(PKGS) 2>/dev/null || \
	    { echo "packages for the build are missing: \"make deps-build\" installs them on Debian" >&2; exit 1; }

$(BUILD)/imapferry-proxy: $(BUILD)/obj/proxy/main.o $(BUILD)/libproxy.a $(BUILD)/libimapferry.a
$(BUILD)/imapferry-migrator: $(call obj,$(MIGRATOR_SRC)) $(BUILD)/libapi.a $(BUILD)/libadmin.a $(BUILD)/libmigrator.a $(BUILD)/libimapferry.a
$(BUILD)/imapferryctl: $(BUILD)/obj/migrator/admin/ctl.o $(BUILD)/libadmin.a $(BUILD)/libmigrator.a $(BUILD)/libimapferry.a
$(PROGRAMS):
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

# Archives, so that imapferryctl and each unit test link what they use, and no more.
$(BUILD)/libimapferry.a: $(call obj,$(LIB_SRC))
$(BUILD)/libproxy.a: $(call obj,$(filter-out proxy/main.c,$(PROXY_SRC)))
$(BUILD)/libmigrator.a: $(call obj,$(FLOOR_SRC))
$(BUILD)/libadmin.a: $(call obj,$(filter-out migrator/admin/ctl.c,$(ADMIN_SRC)))
$(BUILD)/libapi.a: $(call obj,$(API_SRC))
ARCHIVES := $(patsubst %,$(BUILD)/lib%.a,api admin migrator proxy imapferry)
$(ARCHIVES):
	rm -f $@ && ar qcs $@ $^

# The scripts of lib/route, as the text of a library of functions: what runs in Redis is what stands in the tree.
$(BUILD)/gen/route_scripts.h: $(wildcard lib/route/*.lua lib/route/*.sh) Makefile
	@mkdir -p $(@D)
	sh lib/route/embed.sh lib/route $(VERSION) > $@.$$$$ && mv $@.$$$$ $@

# The page's files, as they stand in the tree: there is no other step between them and the browser.
$(BUILD)/gen/page_files.h: $(PAGE_FILES) migrator/page/embed.sh
	@mkdir -p $(@D)
	sh migrator/page/embed.sh $(PAGE_FILES) > $@.$$$$ && mv $@.$$$$ $@
$(BUILD)/obj/migrator/api/api_page.o: $(BUILD)/gen/page_files.h

$(BUILD)/obj/%.o: %.c | packages $(BUILD)/gen/route_scripts.h
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<
$(BUILD)/obj/lib/store_library.o: $(BUILD)/gen/route_scripts.h

$(BUILD)/unit/%: $(BUILD)/obj/tests/unit/%.o $(ARCHIVES)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $< $(ARCHIVES) $(LIBS) -lcmocka

# These play the other parts of the proxy themselves, or the clock: what they define goes before what the archives have.
PLAYED := $(patsubst %,$(BUILD)/unit/test_%,relay rest handover routing tls_tickets)
$(PLAYED): LDFLAGS += -Wl,--allow-multiple-definition

# A unit test whose source did not change is only linked anew. What it is about lies in the archives; its own code is checked
# by the sanitizers, and optimizing that as well takes twice as long to compile.
UNIT_OBJ := $(call obj,$(UNIT_SRC))
.SECONDARY: $(UNIT_OBJ)
ifeq ($(SAN),1)
$(UNIT_OBJ): OPT += -O0
endif

# What benches have of our own parts is built with them, so that it goes on fitting.
units: $(UNITS) $(BUILD)/bench/site

# The fuzz targets, replaying their corpus; make fuzz builds them for libFuzzer.
# Those of sessions play streams and the rest of the proxy themselves.
$(BUILD)/fuzz/%: tests/fuzz/fuzz_%.c $(BUILD)/obj/tests/fuzz/standalone.o $(BUILD)/libproxy.a $(BUILD)/libimapferry.a
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -MMD -MP -o $@ $(filter-out %.h,$^) $(LIBS) -Wl,--allow-multiple-definition

fuzzers: $(FUZZERS)

fuzz-replay: fuzzers
	@for f in $(FUZZERS); do echo "$$f" && "$$f" tests/fuzz/corpus/$${f##*/} || exit 1; done

fuzz:
	@sh tests/deps.sh ensure fuzz
	@$(PYTHON) -B tests/fuzz/run.py --seconds $(or $(SECONDS),600) $(if $(ONLY),--only $(ONLY))

# The second compiler's opinion of every file.
CLANG_SRC := $(LIB_SRC) $(PROXY_SRC) $(MIGRATOR_SRC) $(FLOOR_SRC) $(ADMIN_SRC) $(API_SRC) $(UNIT_SRC)
clang-syntax: $(addprefix clang-syntax/,$(CLANG_SRC))
# A file at a time, so that make spreads them over the cores.
clang-syntax/%: % $(BUILD)/gen/route_scripts.h $(BUILD)/gen/page_files.h
	clang -fsyntax-only $(ALL_CFLAGS) -Wno-missing-field-initializers $<

deps-build:
	@sh tests/deps.sh install build

deps:
	@sh tests/deps.sh install
	@sh tests/servers.sh

demo:
	@sh tests/deps.sh ensure demo
	@$(MAKE) --no-print-directory -s -j$$(nproc) SAN= BUILD=$(BUILD) all
	@IMAPFERRY_BUILD=$(abspath $(BUILD)) ONCE=$(ONCE) $(PYTHON) -B tests/demo/demo.py

check:
	@sh tests/deps.sh ensure
	@sh tests/servers.sh
	@$(PYTHON) -B tests/run.py $(if $(BUILD_GIVEN),--build $(BUILD)) $(if $(ONLY),--only $(ONLY)) \
	    $(PYTEST_ARGS)

check-long:
	@sh tests/deps.sh ensure
	@sh tests/servers.sh
	@LONG=1 $(PYTHON) -B tests/run.py $(if $(BUILD_GIVEN),--build $(BUILD)) --only e2e $(PYTEST_ARGS)

check-fresh:
	@sh tests/deps.sh ensure fresh
	@sh tests/fresh.sh $(if $(ONLY),--only '$(ONLY)')

check-valgrind:
	@sh tests/deps.sh ensure
	@$(MAKE) --no-print-directory -s -j$$(nproc) SAN= BUILD=$(BUILD) all
	@IMAPFERRY_BUILD=$(abspath $(BUILD)) $(PYTHON) -B tests/valgrind.py

# With the addresses that TSan knows: kernels of late put programs elsewhere.
check-tsan:
	@sh tests/deps.sh ensure
	@$(MAKE) --no-print-directory -s -j$$(nproc) SAN=thread BUILD=build/tsan all
	@IMAPFERRY_BUILD=$(abspath build/tsan) SECONDS=$(SECONDS) setarch -R $(PYTHON) -B tests/tsan.py

check-faults:
	@sh tests/deps.sh ensure
	@$(MAKE) --no-print-directory -s -j$$(nproc) SAN= BUILD=$(BUILD) all
	@IMAPFERRY_BUILD=$(abspath $(BUILD)) $(PYTHON) -B tests/faults/run.py --runs $(or $(RUNS),100) $(if $(SEED),--seed $(SEED)) $(if $(STORE),--store $(STORE))

check-crash:
	@sh tests/deps.sh ensure
	@$(MAKE) --no-print-directory -s -j$$(nproc) SAN=1 BUILD=build/san all
	@$(PYTHON) -B tests/crash/run.py $(if $(SEED),--seed $(SEED)) $(if $(RUNS),--count $(RUNS)) $(if $(ONLY),--only '$(ONLY)')

bench-migrate:
	@sh tests/deps.sh ensure bench
	@$(MAKE) --no-print-directory -s -j$$(nproc) SAN= BUILD=$(BUILD) all
	@IMAPFERRY_BUILD=$(abspath $(BUILD)) ONLY=$(ONLY) RUNS=$(or $(RUNS),3) SCALE=$(or $(SCALE),1) BACKEND='$(BACKEND)' \
	    $(PYTHON) -B tests/bench/bench.py

bench-cutover:
	@sh tests/deps.sh ensure
	@$(MAKE) --no-print-directory -s -j$$(nproc) SAN= BUILD=$(BUILD) all
	@IMAPFERRY_BUILD=$(abspath $(BUILD)) $(PYTHON) -B tests/bench/cutover.py

bench-failover:
	@sh tests/deps.sh ensure
	@$(MAKE) --no-print-directory -s -j$$(nproc) SAN= BUILD=$(BUILD) $(BUILD)/unit/test_failover
	@FAILOVER_SESSIONS=$(or $(SESSIONS),100000) FAILOVER_THREADS=$(or $(THREADS),16) FAILOVER_LEASE=$(or $(LEASE),10000) \
	    FAILOVER_AS_BEFORE=$(BEFORE) $(BUILD)/unit/test_failover 2> /dev/null

bench-page:
	@sh tests/deps.sh ensure
	@sh tests/servers.sh
	@$(MAKE) --no-print-directory -s -j$$(nproc) SAN= BUILD=$(BUILD) all
	@IMAPFERRY_BUILD=$(abspath $(BUILD)) ACCOUNTS=$(ACCOUNTS) ROUNDS=$(ROUNDS) $(PYTHON) -B tests/bench/page.py

bench-flood:
	@sh tests/deps.sh ensure
	@$(MAKE) --no-print-directory -s -j$$(nproc) SAN= BUILD=$(BUILD) all
	@IMAPFERRY_BUILD=$(abspath $(BUILD)) $(PYTHON) -B tests/bench/flood.py

bench-view:
	@sh tests/deps.sh ensure
	@$(MAKE) --no-print-directory -s -j$$(nproc) SAN= BUILD=$(BUILD) all
	@IMAPFERRY_BUILD=$(abspath $(BUILD)) $(PYTHON) -B tests/bench/view.py

# What plays the proxies of a site speaks by their own parts.
$(BUILD)/bench/%: $(BUILD)/obj/tests/bench/%.o $(BUILD)/libproxy.a $(BUILD)/libimapferry.a
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

bench-scale:
	@sh tests/deps.sh ensure
	@$(MAKE) --no-print-directory -s -j$$(nproc) SAN= BUILD=$(BUILD) all $(BUILD)/bench/site
	@IMAPFERRY_BUILD=$(abspath $(BUILD)) $(PYTHON) -B tests/bench/scale.py

bench-store:
	@sh tests/deps.sh ensure
	@$(MAKE) --no-print-directory -s -j$$(nproc) SAN= BUILD=$(BUILD) all
	@IMAPFERRY_BUILD=$(abspath $(BUILD)) $(PYTHON) -B tests/bench/store.py

bench-proxy:
	@sh tests/deps.sh ensure
	@sh tests/deps.sh ensure proxies
	@$(MAKE) --no-print-directory -s -j$$(nproc) SAN= BUILD=$(BUILD) all
	@IMAPFERRY_BUILD=$(abspath $(BUILD)) $(PYTHON) -B tests/bench/proxy.py

bench-wire:
	@sh tests/deps.sh ensure
	@sh tests/deps.sh ensure proxies
	@$(MAKE) --no-print-directory -s -j$$(nproc) SAN= BUILD=$(BUILD) all
	@IMAPFERRY_BUILD=$(abspath $(BUILD)) $(PYTHON) -B tests/bench/wire.py

bench-lmtp:
	@sh tests/deps.sh ensure
	@$(MAKE) --no-print-directory -s -j$$(nproc) SAN= BUILD=$(BUILD) all
	@IMAPFERRY_BUILD=$(abspath $(BUILD)) MESSAGES=$(MESSAGES) ROUNDS=$(ROUNDS) $(PYTHON) -B tests/bench/lmtp.py

bench-compress:
	@sh tests/deps.sh ensure
	@$(MAKE) --no-print-directory -s -j$$(nproc) SAN= BUILD=$(BUILD) all
	@IMAPFERRY_BUILD=$(abspath $(BUILD)) MIB=$(MIB) SESSIONS=$(SESSIONS) $(PYTHON) -B tests/bench/compress.py

bench-late:
	@sh tests/deps.sh ensure
	@$(MAKE) --no-print-directory -s -j$$(nproc) SAN= BUILD=$(BUILD) all
	@IMAPFERRY_BUILD=$(abspath $(BUILD)) $(PYTHON) -B tests/bench/late.py

check-account:
	@sh tests/deps.sh ensure
	@sh tests/servers.sh
	@$(MAKE) --no-print-directory -s -j$$(nproc) SAN= BUILD=$(BUILD) all
	@IMAPFERRY_BUILD=$(abspath $(BUILD)) MESSAGES=$(MESSAGES) $(PYTHON) -B tests/account.py

check-view:
	@sh tests/deps.sh ensure
	@sh tests/servers.sh
	@$(MAKE) --no-print-directory -s -j$$(nproc) SAN= BUILD=$(BUILD) all
	@IMAPFERRY_BUILD=$(abspath $(BUILD)) MESSAGES=$(MESSAGES) $(PYTHON) -B tests/view/run.py --runs $(or $(RUNS),20) $(if $(SEED),--seed $(SEED)) \
	    $(if $(ONLY),--only '$(ONLY)')

check-huge:
	@sh tests/deps.sh ensure
	@$(MAKE) --no-print-directory -s -j$$(nproc) SAN= BUILD=$(BUILD) all
	@IMAPFERRY_BUILD=$(abspath $(BUILD)) MIB=$(MIB) MESSAGES=$(MESSAGES) ONLY=$(ONLY) $(PYTHON) -B tests/huge.py

check-crowd:
	@sh tests/deps.sh ensure
	@$(MAKE) --no-print-directory -s -j$$(nproc) SAN= BUILD=$(BUILD) all
	@IMAPFERRY_BUILD=$(abspath $(BUILD)) LOGINS=$(LOGINS) SESSIONS=$(SESSIONS) FLIPS=$(FLIPS) ONLY=$(ONLY) $(PYTHON) -B tests/crowd.py

check-model:
	@sh tests/deps.sh ensure model
	@$(PYTHON) -B tests/model/run.py $(ONLY)

# Manual pages and completions, as imapferryctl prints them by its tables.
PAGES := $(patsubst %,$(BUILD)/pages/%.8,imapferryctl imapferry-proxy imapferry-migrator) $(BUILD)/pages/imapferry.conf.5
COMPLETIONS := $(patsubst %,$(BUILD)/completions/%,bash zsh fish)
$(BUILD)/pages/%.8: $(BUILD)/imapferryctl
	@mkdir -p $(@D)
	$< manual $* > $@.$$$$ && mv $@.$$$$ $@
$(BUILD)/pages/%.5: $(BUILD)/imapferryctl
	@mkdir -p $(@D)
	$< manual $* > $@.$$$$ && mv $@.$$$$ $@
$(BUILD)/completions/%: $(BUILD)/imapferryctl
	@mkdir -p $(@D)
	$< completion $* > $@.$$$$ && mv $@.$$$$ $@

SHARE = $(DESTDIR)$(PREFIX)/share
DOC   = $(SHARE)/doc/imapferry
DAEMONS := imapferry-proxy imapferry-migrator
UNITFILES := $(patsubst %,conf/imapferry-%,proxy.service proxy.socket proxy@.service migrator.service)
PAGES_TO_READ := README.md CHANGES.md conf/ALERTS.md conf/EVENTS.md conf/METRICS.md
# What a site copies and adapts: all else in conf.
EXAMPLES := $(filter-out $(UNITFILES) conf/sysusers.conf conf/tmpfiles.conf conf/imapferry-upgrade.sh conf/fail2ban-filter.conf, \
    $(wildcard conf/*.conf conf/*.cf conf/*.acl conf/*.yml conf/*.json conf/*.php conf/*.sh conf/*.lua conf/*.py conf/*.sieve))
# In files for systemd: where this puts the programs and the configuration.
PLACES = sed -e 's,/usr/local/sbin/,$(PREFIX)/sbin/,' -e 's,/etc/imapferry,$(ETC)/imapferry,'

install: all $(PAGES) $(COMPLETIONS)
	install -d $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/bin $(DOC)/handbook $(DOC)/examples $(SHARE)/man/man5 $(SHARE)/man/man8 \
	    $(SHARE)/bash-completion/completions $(SHARE)/zsh/site-functions $(SHARE)/fish/vendor_completions.d \
	    $(DESTDIR)$(PREFIX)/lib/imapferry $(DESTDIR)$(PREFIX)/lib/sysusers.d $(DESTDIR)$(PREFIX)/lib/tmpfiles.d $(DESTDIR)$(UNIT) \
	    $(DESTDIR)$(ETC)/fail2ban/filter.d
	install -m 755 $(BUILD)/imapferry-proxy $(BUILD)/imapferry-migrator $(DESTDIR)$(PREFIX)/sbin
	install -m 755 $(BUILD)/imapferryctl $(DESTDIR)$(PREFIX)/bin
	install -m 755 conf/imapferry-upgrade.sh $(DESTDIR)$(PREFIX)/lib/imapferry/imapferry-upgrade
	for unit in $(UNITFILES); do \
	    $(PLACES) $$unit > $(DESTDIR)$(UNIT)/$${unit##*/} && chmod 644 $(DESTDIR)$(UNIT)/$${unit##*/} || exit 1; done
	install -m 644 conf/sysusers.conf $(DESTDIR)$(PREFIX)/lib/sysusers.d/imapferry.conf
	$(PLACES) conf/tmpfiles.conf > $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/imapferry.conf
	chmod 644 $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/imapferry.conf
	install -m 644 conf/fail2ban-filter.conf $(DESTDIR)$(ETC)/fail2ban/filter.d/imapferry.conf
	install -m 644 $(PAGES_TO_READ) LICENSE $(DOC)
	install -m 644 conf/handbook/*.md $(DOC)/handbook
	install -m 644 $(EXAMPLES) $(DOC)/examples
	install -m 644 $(filter %.5,$(PAGES)) $(SHARE)/man/man5
	install -m 644 $(filter %.8,$(PAGES)) $(SHARE)/man/man8
	install -m 644 $(BUILD)/completions/bash $(SHARE)/bash-completion/completions/imapferryctl
	install -m 644 $(BUILD)/completions/zsh $(SHARE)/zsh/site-functions/_imapferryctl
	install -m 644 $(BUILD)/completions/fish $(SHARE)/fish/vendor_completions.d/imapferryctl.fish
	for daemon in $(DAEMONS); do \
	    ln -sf imapferryctl $(SHARE)/bash-completion/completions/$$daemon && \
	    ln -sf imapferryctl.fish $(SHARE)/fish/vendor_completions.d/$$daemon.fish || exit 1; done

# debhelper wants debian/ at the top, where this tree has it not. A release of Debian has a version of its own, so that an upgrade to
# the next one brings the package that was built there.
DEB     = build/deb/imapferry-$(VERSION)
RELEASE = $(shell . /etc/os-release && echo $${VERSION_ID:+~deb$$VERSION_ID})
deb:
	@sh tests/deps.sh ensure deb
	rm -rf build/deb
	mkdir -p $(DEB)
	tar -c --exclude=./build --exclude=./.git --exclude=__pycache__ . | tar -x -C $(DEB)
	mv $(DEB)/conf/debian $(DEB)/debian
	sed -i '1s/(\([^)]*\))/(\1$(RELEASE))/' $(DEB)/debian/changelog
	cd $(DEB) && dpkg-buildpackage -us -uc
	@ls build/deb/*.deb

check-deb:
	@sh tests/deps.sh ensure fresh
	@sh tests/fresh.sh $(if $(ONLY),--only '$(ONLY)') "sh tests/deb.sh"

check-docker:
	@sh tests/deps.sh ensure docker
	@sh tests/docker.sh

check-walk:
	@sh tests/deps.sh ensure fresh
	@$(PYTHON) -B tests/walk.py $(if $(ONLY),--only '$(ONLY)')

clean:
	rm -rf build

-include $(shell find $(BUILD)/obj $(BUILD)/fuzz -type f -name '*.d' 2>/dev/null)

.PHONY: all packages deb check-deb check-docker check-walk deps-build check-fresh check-long units fuzzers fuzz fuzz-replay clang-syntax deps demo check check-valgrind check-tsan check-account check-crash check-faults check-view check-huge check-crowd check-model install clean bench-migrate bench-cutover bench-failover bench-flood bench-page bench-late bench-lmtp bench-store bench-compress bench-proxy bench-scale bench-view bench-wire
