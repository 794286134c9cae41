# Sallyport's commands. `make run` and `make test` need nothing before them but Rust and git; they install what the
# system lacks (Debian packages), and say so.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
STATE ?= ./var
CARGO ?= cargo
# What runs a story: `release`, or `debug`, which is there after `make test`.
BUILD ?= release
BUILD_release = $(CARGO) build --release --locked --bins -p sallyport -p auditctl
BUILD_debug = $(CARGO) build --locked --workspace --all-features --bins
ifeq ($(BUILD_$(BUILD)),)
$(error BUILD is `$(BUILD)`, and may be release or debug)
endif
export STATE BUILD

.PHONY: run demo test stranger-test bench-report test-console lint fmt coverage bench bench-tunnel chaos endurance bench-access bench-verify fuzz verifier-mutations crash-matrix power-cut bench-ledger bench-console bench-fold hsm-faults siem-faults bench-siem kill-latency test-kryoptic bench-crypto test-fips fips clean help

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

run: ## Build, set up a state directory (STATE=./var) and start the gateway with a demo app behind it
	@scripts/prepare run
	$(BUILD_$(BUILD))
	@scripts/run

demo: ## Tell the whole story without a person; exits 0 only if every step did what it should; BUILD=debug uses the tests' programs
	@scripts/prepare run
	$(BUILD_$(BUILD))
	@scripts/demo

test: ## Unit, integration and end-to-end tests with the real parts, and the examples in the docs
	@scripts/prepare test
	$(CARGO) build --locked --workspace --all-features --bins
	$(CARGO) test --locked --workspace --all-features --no-fail-fast

test-console: ## The console's stories in a headless Chromium, alone (they are part of `make test`); SALLYPORT_SHOTS=FOLDER keeps pictures
	@scripts/prepare test
	$(CARGO) build --locked --workspace --all-features --bins
	$(CARGO) test --locked --workspace --all-features --test e2e console::

lint: ## Format check, clippy with warnings denied, licences, bans and sources of dependencies
	@scripts/prepare lint
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets --all-features -- -D warnings
	$(CARGO) deny --all-features --log-level error check licenses bans sources

fmt: ## Format everything
	$(CARGO) fmt --all

coverage: ## Line coverage of the whole test suite; fails under 80 %
	@scripts/prepare coverage
	@scripts/coverage

bench: ## Requests per second through a tunnel against direct, added latency, durable records per second
	@scripts/prepare test
	$(CARGO) build --release --locked --bins -p sallyport -p auditctl
	@scripts/bench

bench-tunnel: ## Requests/s, latency, GB/s, CPU and memory beside nginx, OpenSSH and what peers are installed; WRITE_DOCS=1 keeps the table
	@scripts/prepare bench-tunnel
	$(CARGO) build --release --locked --bins -p sallyport
	@scripts/bench-tunnel

chaos: ## Loss, delay, partitions and kills between hosts of their own, by each transport: nothing wrong is delivered; times to recover; root; the last line is JSON
	@scripts/prepare chaos
	$(CARGO) build --release --locked --bins -p sallyport -p auditctl
	@scripts/chaos

endurance: ## 5 GiB each way, 10,000 idle visitors, 2,000 slow ones, 2,000 readers who don't read: memory, and others answered; the last line is JSON
	@scripts/prepare endurance
	$(CARGO) build --release --locked --bins -p sallyport -p auditctl
	@scripts/endurance

bench-access: ## Decisions/s with 10, 1,000 and 10,000 rules beside bare casbin, and authorisation's share of a request
	@scripts/prepare test
	$(CARGO) bench --locked --workspace --all-features --bench access

verifier-mutations: ## Change a sample ledger in every way; the verifier, and a second one in Python, must catch all
	@scripts/prepare test
	$(CARGO) test --release --locked --workspace --all-features --test mutations -- --full

fuzz: ## Fuzz every parser of bytes from outside, FUZZ_SECONDS (60) each; new inputs to WORK
	@scripts/prepare fuzz
	@scripts/fuzz $(or $(FUZZ_SECONDS),60) $(FUZZ_TARGETS)

bench-verify: ## Verified records/s on one core, by records under a head, and the reader beside the slow one
	@scripts/prepare test
	$(CARGO) bench --locked --workspace --all-features --bench verify

crash-matrix: ## 500 kills, every disk operation failing, torn, flipped, lost and foreign files: nothing acknowledged is lost
	@scripts/prepare test
	$(CARGO) test --locked --workspace --all-features --test crash_matrix -- --full

power-cut: ## 1,200 states in which a power cut could leave journal, head file and sled: nothing acknowledged is lost
	@scripts/prepare test
	$(CARGO) test --locked --workspace --all-features --test power_cut -- --full

bench-console: ## The console's pages with 1,000 open sessions and a million records: milliseconds by page, as JSON; SALLYPORT_BENCH_SCALE=10 is a tenth
	@scripts/prepare test
	$(CARGO) build --release --locked --workspace --all-features --bins
	$(CARGO) test --release --locked --workspace --all-features --test e2e console_load::pages -- --ignored --nocapture | tee /dev/stderr | grep '^{' | tail -n 1

bench-fold: ## A million records of access folded into its state, as at a start
	@scripts/prepare test
	$(CARGO) bench --locked --workspace --all-features --bench fold

bench-ledger: ## The ledger beside a plain file, SQLite and bare sled: records/s, time to durable, bytes, memory, reopening
	@scripts/prepare test
	$(CARGO) run --release --locked --manifest-path audit/bench/Cargo.toml --target-dir target

hsm-faults: ## The token slow, hung, pulled out, exchanged, its PIN changed, under a real gateway; ends with times to recover as JSON
	@scripts/prepare test
	$(CARGO) build --locked --workspace --all-features --bins
	$(CARGO) test --locked --workspace --all-features --test e2e hsm_faults:: -- --nocapture

siem-faults: ## rsyslog and syslog-ng over TLS killed under load, the gateway killed at random: all arrives, `reconcile` says contiguous; JSON
	@scripts/prepare test
	$(CARGO) build --locked --workspace --all-features --bins
	@scripts/siem-faults

bench-siem: ## Events/s from a ledger in memory to a local syslog receiver over TLS, and to a webhook; what a sink and its receipts cost a ledger; the last lines are JSON
	@scripts/prepare test
	$(CARGO) test --release --locked --workspace --all-features --test siem throughput -- --ignored --nocapture | grep '^{'

bench-crypto: ## TLS handshakes/s with the key in memory, SoftHSM, a worker process; hybrid beside classical; sealed beside not; 1,000 publishers back at once
	@scripts/prepare test
	@scripts/bench-crypto

test-kryoptic: ## The suite of the key provider with a second token, kryoptic (ML-DSA in the token, PIN lockout); built once, 20 minutes
	@scripts/prepare kryoptic
	@scripts/kryoptic

stranger-test: ## An evidence pack of a real gateway in the hands of a stranger: verify, same figures, sample, dossier, exceptions; ends with JSON
	@scripts/prepare test
	$(CARGO) build --locked --workspace --all-features --bins
	$(CARGO) test --locked --workspace --all-features --test e2e evidence::a_stranger -- --nocapture | tee /dev/stderr | grep '^{' | tail -n 1

bench-report: ## A report, a pack and its check over a million records: seconds and memory
	@scripts/prepare test
	$(CARGO) bench --locked --workspace --all-features --bench report

kill-latency: ## A role locked under 1,000 live HTTP, WebSocket and TCP sessions: p50, p99, max to the last byte, as JSON
	@scripts/prepare test
	$(CARGO) build --release --locked --bins -p sallyport -p auditctl
	$(CARGO) test --release --locked --workspace --all-features --test e2e revocation::kill_latency -- --ignored --nocapture | tee /dev/stderr | grep '^{' | tail -n 1

test-fips: ## Build with the FIPS module of AWS-LC and run every test on it (Debian golang and cmake; more than ten minutes to build)
	@scripts/prepare fips
	$(CARGO) --config .cargo/fips.toml build --locked --workspace --all-features --bins
	$(CARGO) --config .cargo/fips.toml test --locked --workspace --all-features --no-fail-fast

fips: ## The programs with the FIPS module of AWS-LC, in target/fips/release
	@scripts/prepare fips
	$(CARGO) --config .cargo/fips.toml build --release --locked --bins -p sallyport -p auditctl

clean: ## Remove build results; the state directory stays
	$(CARGO) clean
