# The two commands of the README, and what CI runs on top.
.PHONY: test run

test:
	cargo test --workspace --profile ci

run:
	cargo build --release && ./target/release/warp dev
