# The verbs. Anything with logic is a Rust test or binary.

# everything on this machine, with the screen in front
up *args:
    cargo run --release -- up {{args}}

# what a reviewer runs before reading
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# all tests, the end-to-end ones too
test:
    cargo test --release --workspace

# only the end-to-end tests, with their output
e2e:
    cargo test --release -p faultline -p e2e -- --nocapture

# ingest figures for BENCHMARKS.md
bench:
    cargo build --profile dist
    deploy/bench/ingest.sh target/dist/faultline

# what CI runs
ci:
    .ci/run

# the product's tests and the collector's sinks on real servers, such as PostgreSQL, Apache Kafka and ClickHouse, which stay away for five minutes
test-real:
    deploy/testbed/product-tests
    FAULTLINE_TEST_AWAY_SECONDS=300 deploy/testbed/collector-tests

# an hour of load, kills and failing sinks, and then the account
soak:
    deploy/testbed/soak

# throws bytes at what reads bytes, so many seconds a target
fuzz seconds="60":
    fuzz/run {{seconds}}
