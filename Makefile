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

OBJS = $(patsubst %.c,%.o,$(sort $(filter-out src/address/%,$(wildcard src/*.c src/*/*.c))))
C_HEADERS = $(wildcard src/*.h src/*/*.h)

# Normal forms of addresses are a second library, which loads others; see src/address/address.c. PGXS knows one only, so
# the rules for it are below.
ADDRESS = crm_marketing_address
ADDRESS_LIBS = -lidn2
with_phonenumber = yes
ifeq ($(with_phonenumber),yes)
ADDRESS_PHONE = src/address/phone.o
# What its headers use of protobuf comes with it
ADDRESS_LIBS += -lphonenumber
else
ADDRESS_PHONE = src/address/phone_plain.o
endif
ADDRESS_OBJS = src/address/address.o src/address/email.o $(ADDRESS_PHONE)

# The server's headers are system headers to us: they are not clean under -Wextra, and our own code is to be.
PG_CPPFLAGS = -I$(srcdir)/src -isystem $(includedir_server)
PG_CFLAGS = -Wall -Wextra -Werror -Wno-declaration-after-statement
# PGXS gives COPT to C only
PG_CXXFLAGS = -Wall -Wextra -Werror $(COPT)

# pg_regress looks for ./sql/NAME.sql before test/sql/NAME.sql: a test may be called anything but NN_slice.
REGRESS = $(patsubst test/sql/%.sql,%,$(sort $(wildcard test/sql/*.sql)))
REGRESS_OPTS = --inputdir=test --load-extension=$(EXTENSION)
ISOLATION = $(patsubst test/specs/%.spec,%,$(sort $(wildcard test/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test --outputdir=. --load-extension=$(EXTENSION)
ifneq ($(wildcard test/t/*.pl),)
TAP_TESTS = 1
PROVE_TESTS = test/t/*.pl
endif

CLEAN_ADDRESS = $(ADDRESS).so $(wildcard src/address/*.o)
EXTRA_CLEAN = $(wildcard sql/$(EXTENSION)--$(EXTVERSION).sql) $(OBJS:.o=.bc) $(CLEAN_ADDRESS)

all:

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)

ifneq ($(wildcard $(PGXS)),)
include $(PGXS)

# No generated dependencies: a header changes rarely, and everything compiles in seconds.
$(OBJS) $(OBJS:.o=.bc) $(ADDRESS_OBJS): $(C_HEADERS)

all: $(ADDRESS)$(DLSUFFIX)

$(ADDRESS)$(DLSUFFIX): $(ADDRESS_OBJS)
	$(LINK.shared) -o $@ $(ADDRESS_OBJS) $(LDFLAGS) $(LDFLAGS_SL) $(SHLIB_LINK) $(ADDRESS_LIBS)
	@rm -f $(filter-out $(ADDRESS_PHONE),src/address/phone.o src/address/phone_plain.o)
# Where the object for this with_phonenumber is missing, the library is of the other. PostgreSQL's makefiles say
# .SECONDARY, so that its absence alone remakes nothing.
ifeq ($(wildcard $(ADDRESS_PHONE)),)
.PHONY: $(ADDRESS)$(DLSUFFIX)
endif
ifeq ($(with_phonenumber),yes)
# A library with C++ in it is linked by that compiler
$(ADDRESS)$(DLSUFFIX): COMPILER = $(CXX) $(CXXFLAGS)
endif

install: install-address
install-address: $(ADDRESS)$(DLSUFFIX) installdirs-lib
	$(INSTALL_SHLIB) $< '$(DESTDIR)$(pkglibdir)/'

uninstall: uninstall-address
uninstall-address:
	rm -f '$(DESTDIR)$(pkglibdir)/$(ADDRESS)$(DLSUFFIX)'

.PHONY: install-address uninstall-address
else
all install installcheck uninstall:
	@echo "No PostgreSQL server headers: '$(PG_CONFIG) --pgxs' names no file." >&2
	@echo "Install them (on Debian: apt-get install postgresql-server-dev-15, or the major you run)," >&2
	@echo "or name the server with PG_CONFIG=/path/to/pg_config. 'make test' installs them by itself." >&2
	@exit 1

clean distclean maintainer-clean:
	rm -f $(OBJS) $(OBJS:.o=.bc) $(EXTENSION).so $(CLEAN_ADDRESS) $(SQL_SCRIPT)
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
	@echo 'make with_phonenumber=no   without libphonenumber; say so to make install too'
	@echo 'make demo            a shop of 20,000 customers, segmented before your eyes; KEEP=1 leaves it running'
	@echo 'make test            all tests, in a throw-away cluster'
	@echo 'make test-major MAJOR=17   all tests against PostgreSQL 17 (or 18), fetched from Debian for it; needs root'
	@echo 'make bench           all benchmarks; BENCH=name runs one'

.PHONY: all demo test test-major bench help
