# Cadre's commands. `make` alone explains them. Each installs first what it needs and doesn't find.
#
# One profile (dev, its dependencies optimised in Cargo.toml) serves demo, test and check, so that
# `make demo` and then `make test` compile the two hundred crates once. Only bench and build use release.

CARGO ?= cargo
# 1 leaves the demo's servers running, with the commands to look around.
KEEP ?=
# Tests wait for servers of their own about a third of the time: one thread more than cores keeps these busy.
TEST_THREADS ?= $(shell expr $$(nproc) + 1)

export RUST_BACKTRACE ?= 0
export PATH := $(PATH):$(HOME)/.cargo/bin:/usr/sbin:/sbin
export KEEP

# Where what is for other machines is put: program, package, list of parts.
DIST ?= target/dist

.PHONY: help deps deps-build deps-package peers build demo test test-postgres on-postgres interop torture check fmt generated fuzz bench clean \
  release verify-reproducible sbom deb test-deb container test-container
.DEFAULT_GOAL := help

help: ## this text
	@echo "Cadre: a gateway for psychotherapy by e-mail."
	@echo
	@grep -hE '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed 's/:.*## /\t/' | expand -t 22 | sed 's/^/  make /'
	@echo
	@echo "Begin with: make demo"

deps:
	@deploy/install-deps.sh all

deps-build:
	@deploy/install-deps.sh build

deps-package: deps-build
	@deploy/install-deps.sh package

build: deps-build ## the program for use: target/release/cadre
	$(CARGO) build --locked --release

# The lines below are for other machines, and long: a release build of its own. `make test` and `.ci/run` leave them out.

release: deps-build ## the program for other machines, the same bytes from the same sources: target/dist/cadre
	deploy/release.sh $(DIST)

verify-reproducible: deps-build ## two release builds of the last commit, in different folders, give the same bytes
	deploy/verify-reproducible.sh

sbom: deps-build ## what it is made of, CycloneDX: target/dist/cadre.cdx.json
	deploy/sbom.sh $(DIST)

deb: deps-package release ## Debian's package: target/dist/cadre_VERSION_ARCH.deb
	deploy/package.sh $(DIST)

test-deb: deb ## lintian, and the package's whole life on a clean Debian: installed, used, upgraded, removed, purged
	deploy/debian/test.sh $(DIST)

container: deb ## an image around that package (podman): localhost/cadre
	podman build --format docker --tag cadre --file deploy/Containerfile $(DIST)

test-container: deb ## the same on a base made here from Debian's packages, and a practice in it (buildah)
	deploy/test-container.sh $(DIST)

demo: deps ## a day of a practice on real mail servers, told as a story (KEEP=1: leave them running)
	@$(CARGO) build --locked --bin cadre --example demo
	@$(CARGO) run --locked --quiet --example demo

# The OpenPGP programs that Debian doesn't have; into target/peers, or $CADRE_PEERS where it is to outlive a clean.
peers: deps
	@CARGO=$(CARGO) tests/peers/install.sh

interop: peers ## the tables of every OpenPGP program, both ways (also a part of test)
	$(CARGO) test --locked --test interop

test: deps peers ## every test: rules, formats, databases, end to end on Dovecot, Postfix and GnuPG
	$(CARGO) test --locked --no-fail-fast --lib --bins --tests --examples -- --test-threads=$(TEST_THREADS)
	$(CARGO) test --locked --doc
	@$(MAKE) --no-print-directory on-postgres

# What works on a practice's database. Left out: rules, formats and programs that meet none (interop, corpora, letters_cli,
# architecture …); `whole`, whose five years are the rules'; `gateways`, `upgrade` and `migrate_store`, which have their own;
# most rounds of `torture`, which are about disks. What a test itself leaves out there it says.
ON_POSTGRES = absence crisis day delivery digest_letter enrolment failures faults frame impersonation keylife \
  kill_matrix letters lifecycle operating practice_key records replies sealed threats torture
# The main job and what moves by the clock; the rest takes a quarter of an hour more.
ON_POSTGRES_IN_TEST = absence day delivery frame kill_matrix letters lifecycle records replies

test-postgres: deps ## the tests of the database and the end-to-end tests that meet one once more, on a PostgreSQL server of the tests' own (long)
	@$(MAKE) --no-print-directory on-postgres ON_POSTGRES_IN_TEST="$(ON_POSTGRES)"

on-postgres:
	tests/common/postgres.sh run $(CARGO) test --locked --lib -- store:: --test-threads=$(TEST_THREADS)
	CADRE_TEST_DATABASE=postgres CADRE_KILL_ROUNDS=$${CADRE_KILL_ROUNDS:-9} $(CARGO) test --locked --no-fail-fast \
	  $(addprefix --test ,$(ON_POSTGRES_IN_TEST)) -- --test-threads=$(TEST_THREADS)

torture: deps ## a thousand kills and power cuts under traffic, every fault at every command, a mailbox of 50,000, floods (an hour or more)
	CADRE_KILL_ROUNDS=$${CADRE_KILL_ROUNDS:-1000} CADRE_FAULTS=all CADRE_GATEWAY_ROUNDS=$${CADRE_GATEWAY_ROUNDS:-30} CADRE_MAILBOX=$${CADRE_MAILBOX:-50000} \
	CADRE_FLOOD=$${CADRE_FLOOD:-1000} $(CARGO) test --locked --no-fail-fast \
	  --test torture --test gateways --test faults --test threats --test delivery --test letters -- --nocapture --test-threads=$(TEST_THREADS)

check: deps-build ## format, lints, documentation, licences, generated files: what CI asks first
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items
	@$(MAKE) --no-print-directory generated
	@deploy/deny.sh

generated: # config/cadre.example.toml, its schema and the letters' golden files come from the code: they mustn't differ
	$(CARGO) test --locked --quiet --lib -- the_committed_example_is_the_generated_one \
	  the_committed_schema_is_the_generated_one letters_are_as_the_golden_files_have_them

fmt: ## format the sources
	$(CARGO) fmt

# cargo-fuzz asks for a nightly compiler; with RUSTC_BOOTSTRAP the stable one does. No sanitizer: there is no unsafe code.
FUZZ_SECONDS ?= 600
FUZZ_TARGETS ?= intake commands dsn address lexicon attachments

fuzz: deps-build ## each fuzz target for ten minutes (FUZZ_SECONDS=60, FUZZ_TARGETS="intake dsn")
	@$(CARGO) fuzz --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-fuzz
	cd fuzz && $(CARGO) run --locked --release --quiet --bin seeds -- corpus
	cd fuzz && for target in $(FUZZ_TARGETS); do \
	  RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run --sanitizer none $$target -- \
	    -max_total_time=$(FUZZ_SECONDS) -max_len=65536 -timeout=25 -rss_limit_mb=2048 || exit 1; \
	done

bench: deps ## the table of figures beside other programs, on a real Dovecot (half an hour; CADRE_BENCH=quick: a few minutes)
	@benches/peers/install.sh
	$(CARGO) bench --locked --bench figures

clean: ## remove what was built
	$(CARGO) clean
