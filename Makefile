# The two commands of the README (run, test) and what stands around them.
.PHONY: run test check full bench compare mutants contract nightly bootstrap

# Installs what is missing, builds the release binary, starts the whole platform with its demo world.
run:
	@scripts/bootstrap run
	@scripts/ui build || echo "ui: the consoles are not built; everything else is there" >&2
	@scripts/cold-times build cargo build --release --bin warp
	@./target/release/warp dev $(ARGS)

# Installs what is missing, builds, runs every test, ends in a summary.
test:
	@scripts/bootstrap test
	@scripts/test

# What CI asks besides: form, lints with every feature on.
check:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --all-features --profile ci -- -D warnings

# Everything with every feature, as release: the nightly build.
full:
	cargo build --release --workspace --all-features

bench:
	cargo bench -p warp-bench

# Side by side with Kamailio and rtpengine; writes bench/results/.
compare:
	@scripts/bootstrap test
	loadtests/compare

# Do the tests notice? Single changes to the code, a seeded sample of each room; hours. Writes bench/results/.
#   make mutants [CRATE=sip,sdp] [COUNT=40] [SEED=1]
mutants:
	@scripts/bootstrap test
	@command -v cargo-mutants >/dev/null || cargo install cargo-mutants --locked
	nice cargo run -q --profile ci -p warp-bench --bin mutants -- $(if $(CRATE),crate=$(CRATE)) count=$(or $(COUNT),40) seed=$(or $(SEED),1)

# Schemathesis over both OpenAPI documents with many times the requests of `make test`, and another seed each time.
contract:
	@scripts/bootstrap test
	WARP_SCHEMATHESIS=long cargo test --profile ci --workspace --features kafka --test schemathesis -- --nocapture

# What is too long for every commit: everything built in full, the long contract tests, then the sample of changes with the day as its seed.
nightly: full contract
	$(MAKE) mutants SEED=$$(date +%Y%m%d)
