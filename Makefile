# The two commands of the README (run, test) and what stands around them.
.PHONY: run test check full bench compare bootstrap

# Installs what is missing, builds the release binary, starts the whole platform with its demo world.
run:
	@scripts/bootstrap run
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
	cargo build --release --workspace --bins
	loadtests/compare
