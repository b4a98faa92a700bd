# crm_marketing: a PGXS extension.
#
#   make, make install, make installcheck     as for any extension; PG_CONFIG names the server to build for
#   make demo, make test, make bench          set up what they need, work in a throw-away cluster, clean up
#   make test-major MAJOR=17                  the tests against another major's server, unpacked beside the system
#
# The last four are entry points for a bare machine, so this file answers even where no server headers are yet.

EXTENSION = crm_marketing
MODULE_big = crm_marketing
PGFILEDESC = "crm_marketing - customer segments, scores and campaigns"

EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'.*/\1/p" crm_marketing.control)

# The install script is the slices' scripts one after the other. Scripts of upgrades are written by hand and kept.
SQL_SLICES := $(sort $(wildcard sql/[0-9]*.sql))
SQL_SCRIPT = sql/$(EXTENSION)--$(EXTVERSION).sql
DATA = $(filter-out $(SQL_SCRIPT),$(wildcard sql/$(EXTENSION)--*.sql))
DATA_built = $(SQL_SCRIPT)

OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c src/*/*.c)))
C_HEADERS = $(wildcard src/*.h src/*/*.h)

# The server's headers are system headers to us: they are not clean under -Wextra, and our own code is to be.
PG_CPPFLAGS = -I$(srcdir)/src -isystem $(includedir_server)
PG_CFLAGS = -Wall -Wextra -Werror -Wno-declaration-after-statement

# pg_regress looks for ./sql/NAME.sql before test/sql/NAME.sql: a test may be called anything but NN_slice.
REGRESS = $(patsubst test/sql/%.sql,%,$(sort $(wildcard test/sql/*.sql)))
REGRESS_OPTS = --inputdir=test --load-extension=$(EXTENSION)
ISOLATION = $(patsubst test/specs/%.spec,%,$(sort $(wildcard test/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test --outputdir=. --load-extension=$(EXTENSION)
ifneq ($(wildcard test/t/*.pl),)
TAP_TESTS = 1
PROVE_TESTS = test/t/*.pl
endif

EXTRA_CLEAN = $(wildcard sql/$(EXTENSION)--$(EXTVERSION).sql) $(OBJS:.o=.bc)

all:

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)

ifneq ($(wildcard $(PGXS)),)
include $(PGXS)

# No generated dependencies: a header changes rarely, and everything compiles in seconds.
$(OBJS) $(OBJS:.o=.bc): $(C_HEADERS)
else
all install installcheck uninstall:
	@echo "No PostgreSQL server headers: '$(PG_CONFIG) --pgxs' names no file." >&2
	@echo "Install them (on Debian: apt-get install postgresql-server-dev-15, or the major you run)," >&2
	@echo "or name the server with PG_CONFIG=/path/to/pg_config. 'make test' installs them by itself." >&2
	@exit 1

clean distclean maintainer-clean:
	rm -f $(OBJS) $(OBJS:.o=.bc) $(EXTENSION).so $(SQL_SCRIPT)
endif

$(SQL_SCRIPT): $(SQL_SLICES) crm_marketing.control Makefile
	@{ printf '%s\n' '-- Made by make from sql/NN_slice.sql; edit those.' \
	     '\echo Use "CREATE EXTENSION $(EXTENSION)" to load this file. \quit'; \
	   for f in $(SQL_SLICES); do printf '\n-- %s\n' "$$f"; cat "$$f"; done; } > $@.tmp && mv $@.tmp $@

demo:
	@tools/setup.sh
	@tools/with-cluster.sh tools/demo.sh

test:
	@tools/setup.sh
	@tools/with-cluster.sh tools/test.sh

test-major:
	@tools/test-major.sh $(MAJOR)

bench:
	@tools/setup.sh bench
	@tools/bench.sh $(BENCH)

help:
	@echo 'make                 build; make install, make installcheck as for any PostgreSQL extension'
	@echo 'make PG_CONFIG=...   for a server other than the first in the PATH'
	@echo 'make demo            a shop of 20,000 customers, segmented before your eyes; KEEP=1 leaves it running'
	@echo 'make test            all tests, in a throw-away cluster'
	@echo 'make test-major MAJOR=17   all tests against PostgreSQL 17 (or 18), fetched from Debian for it; needs root'
	@echo 'make bench           all benchmarks; BENCH=name runs one'

.PHONY: all demo test test-major bench help
