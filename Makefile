# make demo | demo-stop | test [TEST=name] | package OUT=DIR | install. PG_CONFIG chooses the major version of PostgreSQL.

PG_CONFIG ?= /usr/bin/pg_config
PROFILE ?= release
CARGO ?= cargo

PG_MAJOR := $(shell $(PG_CONFIG) --version | sed -E 's/^PostgreSQL ([0-9]+).*/\1/')
PG_LIBDIR := $(shell $(PG_CONFIG) --pkglibdir)
PG_SHAREDIR := $(shell $(PG_CONFIG) --sharedir)
VERSION := $(shell sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
BINDIR ?= /usr/bin
TARGET_DIR ?= target
TARGET = $(TARGET_DIR)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))

# One command form for each part, always: other forms unify features differently and build pgrx again.
BUILD_EXTENSION = PGRX_PG_CONFIG_PATH=$(PG_CONFIG) $(CARGO) build --locked --profile $(PROFILE) -p pgrelay --no-default-features --features pg$(PG_MAJOR)
BUILD_APPLIER = $(CARGO) build --locked --profile $(PROFILE) -p pgrelay-applier
BUILD_PGX_SQL = $(CARGO) build --locked -p pgx-sql

# What `make` alone does.
.DEFAULT_GOAL := build

.PHONY: build package install demo demo-stop test

build:
	$(BUILD_EXTENSION)
	$(BUILD_APPLIER)
	$(BUILD_PGX_SQL)

# Each file is written beside its place and renamed: a server that has loaded the old library goes on with it.
put = install -m $(2) $(1) $(3).new && mv -f $(3).new $(3)

package: build
	@test -n "$(OUT)" || { echo "make package needs OUT=DIR"; exit 2; }
	mkdir -p "$(OUT)$(PG_LIBDIR)" "$(OUT)$(PG_SHAREDIR)/extension" "$(OUT)$(BINDIR)"
	sed "s/@CARGO_VERSION@/$(VERSION)/" extension/pgrelay.control > $(TARGET)/pgrelay.control
	$(TARGET_DIR)/debug/pgx-sql $(TARGET)/libpgrelay.so $(TARGET)/pgrelay.control $(TARGET)/pgrelay.sql
	$(call put,$(TARGET)/libpgrelay.so,0755,"$(OUT)$(PG_LIBDIR)/pgrelay.so")
	$(call put,$(TARGET)/pgrelay.sql,0644,"$(OUT)$(PG_SHAREDIR)/extension/pgrelay--$(VERSION).sql")
	$(call put,$(TARGET)/pgrelay.control,0644,"$(OUT)$(PG_SHAREDIR)/extension/pgrelay.control")
	$(call put,$(TARGET)/pgrelay-applier,0755,"$(OUT)$(BINDIR)/pgrelay-applier")

install:
	@$(MAKE) --no-print-directory package OUT=/

# Moves a database in use between two private servers. EXIT=1: without a terminal, cleans up, status 0 when both sides are equal.
demo:
	@EXIT='$(EXIT)' demo/run

demo-stop:
	@demo/stop

# Everything that has to hold; TEST=name runs only the tests of that name.
test:
	@tests/run $(TEST)
