# imapferry: make, make deps, make demo, make check, make check-valgrind, make install, make clean.
# SAN=1 builds with ASan and UBSan into build/san; WERROR=1 makes warnings errors. BUILD=DIR builds elsewhere.

PREFIX  ?= /usr/local
DESTDIR ?=
VERSION := 0.1.0
CC      ?= cc

ifeq ($(SAN),1)
BUILD   ?= build/san
OPT     := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
else
BUILD   ?= build
OPT     := -O2 -g
HARDEN  := -D_FORTIFY_SOURCE=2 -fstack-protector-strong
endif

PKGS    := libuv libssl libcrypto hiredis libconfuse jansson zlib
CFLAGS  ?= $(OPT) $(HARDEN)
WARN    := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wvla
ifeq ($(WERROR),1)
WARN    += -Werror
endif
SYSTEMD := $(shell pkg-config --exists libsystemd && echo -DHAVE_SYSTEMD $$(pkg-config --cflags libsystemd))
ALL_CFLAGS = -std=gnu11 $(CFLAGS) $(WARN) -D_GNU_SOURCE -DIMAPFERRY_VERSION='"$(VERSION)"' $(SYSTEMD) \
             -I. -I$(BUILD)/gen $(shell pkg-config --cflags $(PKGS))
LIBS    = $(shell pkg-config --libs $(PKGS)) $(if $(SYSTEMD),$(shell pkg-config --libs libsystemd)) -lpthread

LIB_SRC      := $(wildcard lib/*.c)
PROXY_SRC    := $(wildcard proxy/*.c)
MIGRATOR_SRC := $(wildcard migrator/*.c)
ADMIN_SRC    := $(wildcard migrator/admin/*.c)
UNIT_SRC     := $(wildcard tests/unit/test_*.c)
obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

PROGRAMS := $(BUILD)/imapferry-proxy $(BUILD)/imapferry-migrator $(BUILD)/imapferryctl
UNITS    := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(UNIT_SRC))

all: $(PROGRAMS)

$(BUILD)/imapferry-proxy: $(call obj,$(PROXY_SRC)) $(BUILD)/libimapferry.a
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)
$(BUILD)/imapferry-migrator: $(call obj,$(MIGRATOR_SRC)) $(BUILD)/libimapferry.a
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)
$(BUILD)/imapferryctl: $(call obj,$(ADMIN_SRC)) $(BUILD)/libimapferry.a
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/libimapferry.a: $(call obj,$(LIB_SRC))
	rm -f $@ && ar rcs $@ $^

# The scripts of lib/route, each behind the common head, as C strings: what runs in Redis is what stands in the tree.
$(BUILD)/gen/route_scripts.h: $(wildcard lib/route/*.lua) lib/route/embed.sh
	@mkdir -p $(@D)
	sh lib/route/embed.sh lib/route > $@.tmp && mv $@.tmp $@

$(BUILD)/obj/%.o: %.c | $(BUILD)/gen/route_scripts.h
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<
$(BUILD)/obj/lib/store.o: $(BUILD)/gen/route_scripts.h

$(BUILD)/unit/%: tests/unit/%.c $(BUILD)/libimapferry.a
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -MMD -MP -o $@ $< $(BUILD)/libimapferry.a $(LIBS) -lcmocka

units: $(UNITS)

clean:
	rm -rf build

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

.PHONY: all units clean
