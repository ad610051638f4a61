# The only door. `make help` lists what is behind it.

ARCH    := $(shell uname -m)
# The C library is musl where Rust's standard library for it is installed, else glibc (see docs/install.md):
# asked anew in every recipe, as `make toolchain` may have installed it.
GLIBC   := $(ARCH)-unknown-linux-gnu
MUSL    := $(ARCH)-unknown-linux-musl
TARGET   = $(if $(shell [ -d "$$(rustc --print sysroot)/lib/rustlib/$(MUSL)" ] && echo yes),$(MUSL),$(GLIBC))
OUT      = target/$(TARGET)/release
CARGO   := cargo
# What `--version` tells besides the version: nothing where there is no git.
COMMIT  ?= $(shell git describe --always --dirty --abbrev=12 --exclude '*' 2>/dev/null)
# No path of this machine stands in the binaries (see docs/install.md).
REMAP   := --remap-path-prefix=$(CURDIR)=/cleat --remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=/cargo
STATIC   = CLEAT_COMMIT=$(COMMIT) RUSTFLAGS="-C target-feature=+crt-static -C relocation-model=static -C force-unwind-tables=no $(REMAP)"
ID      := demo-$(shell echo $$PPID)

# What a test needs to know of what was built.
BUILT  = CLEAT_RUNTIME=$(CURDIR)/$(OUT)/cleat CLEAT_PROBE=$(CURDIR)/$(OUT)/probe CLEAT_SHIM=$(CURDIR)/$(OUT)/containerd-shim-cleat-v2

# Where `make install` puts it, below DESTDIR; the date of whatever is generated, and what packs it.
PREFIX  ?= /usr/local
DOCS     = target/packaging
DATED    = SOURCE_DATE_EPOCH=$(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null || stat -c %Y Cargo.toml))
PACK     = $(DATED) OUT=$(OUT) DOCS=$(DOCS) COMMIT=$(COMMIT) runtime/packaging/build

# How long each fuzz target runs.
FUZZ_SECONDS ?= 20

# What is tested in the guest, and what `make integration` is cut down to when it is given.
CHAPTERS := lifecycle pause exec leaks limits update events nested engines engine_limits audit apparmor io shim matrix compare selinux systemd criu

# The programs of tests (folders of integration/tests) that have some chapters (files there), and these chapters of
# theirs; a chapter NAME_sid is the file NAME.rs on another containerd.
programs = $(sort $(foreach chapter,$(1),$(notdir $(patsubst %/,%,$(dir $(wildcard integration/tests/*/$(patsubst %_sid,%,$(chapter)).rs))))))
chapters = $(addprefix --test=,$(call programs,$(1))) -- $(addprefix --chapter=,$(1))
# All, unless some are named on the command line; and in them what FILTER names.
CHOSEN   = $(if $(filter-out file,$(origin CHAPTERS)),$(call chapters,$(CHAPTERS)),--)

# Where tests add what has become of them, and who counts it.
REPORT   = $(CURDIR)/target/test-report
COUNT    = $(CARGO) run --quiet -p integration --bin test-report -- $(REPORT)

.PHONY: help toolchain build man install uninstall packages packages-test reproducible deny bundles demo test unit integration compare containerd engines guest matrix mutations fuzz oracle check bench bench-memory bench-shim clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

toolchain:
	@[ $(TARGET) = $(MUSL) ] || ! command -v rustup >/dev/null || { echo "== installing Rust's standard library for $(MUSL)"; \
	  timeout 180 rustup target add $(MUSL) || :; }

build: toolchain ## Build the static release binaries: cleat, its shim, and the probe that runs inside test containers
	@echo "== building cleat, containerd-shim-cleat-v2 and the probe (static, release, $(TARGET))"
	@[ $(TARGET) = $(MUSL) ] || echo "== with glibc: with musl it is smaller, and in virtual machines faster (see docs/performance.md)"
	$(STATIC) $(CARGO) build --release --target $(TARGET) -p cleat -p containerd-shim-cleat -p probe

man: ## Man pages, completions, licences of crates and bill of materials, into target/packaging
	@echo "== man pages and completions"
	$(CARGO) build --quiet -p packaging
	@rm -rf $(DOCS)
	@$(DATED) target/debug/packaging docs $(DOCS)
	@$(CARGO) metadata --format-version 1 --locked --filter-platform $(TARGET) | $(DATED) target/debug/packaging notices $(DOCS)

# What is there is installed as it is: root need not have Rust.
install: ## Install what `make build man` made; DESTDIR, PREFIX=/usr/local
	@ls target/$(ARCH)-*/release/cleat >/dev/null 2>&1 || $(MAKE) --no-print-directory build
	@[ -d $(DOCS) ] || $(MAKE) --no-print-directory man
	DESTDIR=$(DESTDIR) PREFIX=$(PREFIX) OUT=$$(dirname "$$(ls -t target/$(ARCH)-*/release/cleat | head -n 1)") DOCS=$(DOCS) runtime/packaging/install install

uninstall: ## Remove what `make install` installed
	DESTDIR=$(DESTDIR) PREFIX=$(PREFIX) runtime/packaging/install uninstall

packages: build man ## .deb, .rpm and static tarball with checksums, into target/packages
	@echo "== packages"
	@$(PACK) target/packages $(TARGET)

packages-test: packages bundles ## The .deb in clean Debian roots (12 and 13): install, look, run, upgrade, remove; lintian; as root
	@echo "== packages in clean roots"
	@RELEASE=2 $(PACK) target/packages-next $(TARGET)
	@integration/packaging/test target/packages target/packages-next bundles/hello .

reproducible: ## Build and package twice, in two directories, and compare the bytes (slow)
	@integration/packaging/reproducible

bundles: build ## Fill the root file systems of bundles/
	@bundles/make-rootfs $(OUT)/probe

demo: bundles ## Run bundles/hello and remove it again
	@echo "== cleat run --bundle bundles/hello"
	@$(OUT)/cleat --root target/demo run --bundle bundles/hello $(ID)
	@echo "== gone: the container and all that was made for it"
	@$(OUT)/cleat --root target/demo list

test: COUNTED = :
test: check unit integration ## All tests: what CI runs
	@status=0; $(MAKE) --no-print-directory guest GUEST=--if-needed || status=$$?; \
	  echo "== where the tests ran, and which were skipped"; $(COUNT) --complete && exit $$status

unit: ## Tests that need neither root nor a kernel feature
	@echo "== unit tests"
	$(CARGO) test -p cleat -p cleat-plan -p containerd-shim-cleat -p bench -p packaging
	$(CARGO) test -p compare

COUNTED = $(COUNT)
integration: bundles ## Tests against the kernel, as root; CHAPTERS="mounts exec" FILTER=the_root for some
	@command -v newuidmap >/dev/null || { echo "== installing the package uidmap, for newuidmap(1)"; \
	  apt-get install -y uidmap || echo "== without it the tests of delegated ids are SKIPPED"; }
	@echo "== integration tests"
	@integration/containerd/prepare target/containerd || echo "== without it the tests of the shim below containerd are SKIPPED"
	@integration/containerd/prepare-sid target/containerd || :
	@integration/engines/prepare target/engines || :
	@[ -n "$(PEERS_ROOT)" ] || integration/compare/prepare target/peers || echo "== without it the comparison with runc and crun is SKIPPED"
	@rm -f $(REPORT)
	$(BUILT) PEERS_ROOT=$(abspath $(PEERS_ROOT)) CLEAT_TEST_REPORT=$(REPORT) $(CARGO) test --no-fail-fast -p integration $(CHOSEN) $(FILTER) || { $(COUNT); exit 1; }
	@$(COUNTED)

compare: bundles ## The same inputs on cleat, runc and crun (Debian's newest, or those of PEERS_ROOT), and what differs; ONLY="mounts/* …"
	@echo "== the same on cleat, runc and crun"
	@[ -n "$(PEERS_ROOT)" ] || integration/compare/prepare target/peers
	$(CARGO) run --quiet -p compare -- $(COMPARE_ARGS) $(or $(PEERS_ROOT),target/peers) $(OUT)/cleat $(OUT)/probe $(ONLY)

containerd: bundles ## Fetch Debian's containerd and sid's (not installed), and see the shim below them; CLEAT_CONTAINERD=DIR for another
	@echo "== the shim below containerd"
	@[ -n "$$CLEAT_CONTAINERD" ] || integration/containerd/prepare target/containerd
	@[ -n "$$CLEAT_CONTAINERD" ] || integration/containerd/prepare-sid target/containerd || :
	$(BUILT) $(CARGO) test -p integration $(call chapters,containerd containerd_sid cri cri_sid shim shim_options shim_rootfs shim_streams shim_lifetime shim_boundary shim_checkpoint)

engines: bundles ## Fetch Podman and Docker of Debian sid (not installed), and see cleat below them
	@echo "== cleat below Podman and Docker"
	@integration/engines/prepare target/engines
	$(BUILT) $(CARGO) test -p integration $(call chapters,podman podman_pods docker engine_pages engine_limits)

mutations: bundles ## Take each defence out of a copy, see its tests fail (slow); ONLY="NAME …" for some
	@echo "== the security record without its mutations (integration/SECURITY.md)"
	CLEAT_PROBE=$(CURDIR)/$(OUT)/probe $(CARGO) run -p integration --bin mutations -- $(ONLY)

guest: bundles ## Tests in an emulated machine with pure cgroup v2, AppArmor, SELinux; CHAPTERS="apparmor …"
	@echo "== tests in a guest"
	@[ -n "$$CLEAT_CONTAINERD" ] || integration/containerd/prepare target/containerd || echo "== without it the tests of pods are SKIPPED"
	@[ -z "$(filter compare,$(CHAPTERS))" ] || [ -n "$(PEERS_ROOT)" ] || integration/compare/prepare target/peers || echo "== without it the comparison with runc and crun is SKIPPED"
	@integration/engines/prepare target/engines || echo "== without it the tests of engines' limits are SKIPPED"
	@$(if $(GUEST),,rm -f $(REPORT))
	$(BUILT) PEERS_ROOT=$(abspath $(PEERS_ROOT)) CLEAT_TEST_REPORT=$(REPORT) integration/guest/test $(GUEST) $(CHAPTERS) $(if $(FILTER),-- $(FILTER))
	@$(if $(GUEST),,$(COUNT))

matrix: bundles ## What holds in every combination (integration/MATRIX.md), looked at here and in the guest; BLESS=1 writes what is found here
	@echo "== the confinement matrix"
	$(if $(BLESS),CLEAT_BLESS=1) $(BUILT) $(CARGO) test -p integration $(call chapters,matrix)
	@[ -n "$(BLESS)" ] || $(MAKE) --no-print-directory guest CHAPTERS="matrix"

deny: ## Licences, sources and duplicates of all crates, by cargo-deny (installed if missing, some minutes)
	@command -v cargo-deny >/dev/null || $(CARGO) install --locked cargo-deny
	$(CARGO) deny check --hide-inclusion-graph bans licenses sources

fuzz: ## Fuzz whatever is parsed, FUZZ_SECONDS=20 for each target; FUZZ="bundle …" for some
	@command -v cargo-fuzz >/dev/null || $(CARGO) install --locked cargo-fuzz
	@echo "== fuzzing, $(FUZZ_SECONDS) s each"
	@runtime/fuzz/run $(FUZZ_SECONDS) $(FUZZ)

oracle: bundles ## The lifecycle tests on runc, in a mount namespace with cgroup v2 alone
	@command -v runc >/dev/null || { echo "runc is not installed: apt-get install runc"; exit 1; }
	unshare --mount --propagation private sh -c 'mount -t cgroup2 cgroup2 /sys/fs/cgroup && \
	  CLEAT_RUNTIME=$$(command -v runc) CLEAT_PROBE=$(CURDIR)/$(OUT)/probe exec $(CARGO) test -p integration $(call chapters,lifecycle)'

check: ## Format, lints, layer rules, documentation
	@echo "== format"
	$(CARGO) fmt --all --check
	@echo "== lints"
	$(CARGO) clippy --workspace --all-targets --exclude cleat-init -- -D warnings
	$(CARGO) clippy -p cleat-init --target $(TARGET) -- -D warnings
	@echo "== layer rules"
	@./runtime/check-layers
	@echo "== documentation"
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items --exclude cleat-init --quiet
	@echo "== crates"
	@if command -v cargo-deny >/dev/null; then $(MAKE) --no-print-directory deny; else \
	  echo "SKIPPED: cargo-deny is not installed; \`make deny\` installs it and checks licences and sources"; fi

bench: ## Compare with crun, runc (PATH or PEERS_ROOT) and the kernel floor; BENCH_ARGS="--rounds N …"
	@echo "== building (static, release; the floor is a program of glibc's)"
	$(STATIC) $(CARGO) build --release --target $(TARGET) -p cleat
	$(STATIC) $(CARGO) build --release --target $(GLIBC) -p bench
	@# A copy, as an installed one is: what the linker has written lies in smaller pieces in the page cache.
	cp $(OUT)/cleat target/cleat-bench
	target/$(GLIBC)/release/bench --cleat target/cleat-bench --init $$(ls -t $(OUT)/build/cleat-*/out/init/$(TARGET)/release/cleat-init | head -1) $(BENCH_ARGS)

bench-memory: ## The smallest memory.max under which a container starts, with crun and runc, in the guest
	@echo "== building (static, release)"
	$(STATIC) $(CARGO) build --release --target $(TARGET) -p cleat -p bench
	integration/guest/run env PEERS_ROOT=$(PEERS_ROOT) $(CURDIR)/$(OUT)/bench --cleat $(CURDIR)/$(OUT)/cleat --memory 8

bench-shim: bundles ## The shim compared with containerd's own and conmon (PATH or PEERS_ROOT); ROUNDS=N, ONLY="memory latency fifty api output"
	@integration/containerd/prepare target/containerd
	$(STATIC) $(CARGO) build --release --target $(TARGET) -p integration --bin engine
	integration/containerd/bench $(OUT)/containerd-shim-cleat-v2 $(OUT)/cleat $(OUT)/engine target/containerd/image.tar $(ROUNDS)

clean: ## Remove what was built
	$(CARGO) clean
	rm -rf bundles/*/rootfs
