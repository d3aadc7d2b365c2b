# The front desk: everything a person or a machine does with this checkout.

CARGO ?= cargo
DATA_DIR ?= target/appliance
FUZZ_SECONDS ?= 600
SOAK_SECONDS ?= 600
LONG_RUN_JOBS ?= 1000
LONG_RUN_SECONDS ?= 600

.PHONY: help run model test check bench bench-model long-run soak bad-days fuzz tools screens

help:
	@echo "make run    build and start the appliance on unprivileged ports"
	@echo "make model  get a speech model into the user's cache (make run does it too): MODEL=tiny.en,"
	@echo "            the default, or MODEL=base, which knows 99 languages"
	@echo "make test   every test, against the built binary and real clients"
	@echo "make check  formatting, clippy, documentation, public interface, licences and bans"
	@echo "make bench  measure, and print a table"
	@echo "make bench-model  size, exactness and speed of a model (MODEL=base, in other languages too)"
	@echo "make long-run  a thousand jobs, then eight live sessions: nothing is lost, memory comes back"
	@echo "make soak   every attack at once beside ordinary people (SOAK_SECONDS=600)"
	@echo "make bad-days  a wrong clock, a failing disk, no threads, beside ordinary people"
	@echo "make screens  pictures of every page of the interface, into target/screens"
	@echo "make fuzz   ten minutes for each fuzz target (FUZZ_SECONDS=600)"

run:
	@scripts/tools.sh build
	@scripts/model.sh $(MODEL)
	$(CARGO) build --release --bin portcullis
	@scripts/welcome.sh
	exec $(if $(MODEL),env PORTCULLIS_MODEL='$(MODEL)') target/release/portcullis run --unprivileged --data-dir $(DATA_DIR)

model:
	@scripts/model.sh $(MODEL)

# The tests of the documents build what the line before them has built; the last line takes the
# features of the whole workspace, so that little is built again.
test:
	@scripts/tools.sh build test
	@scripts/model.sh
	@scripts/model.sh base
	$(CARGO) build --workspace --bins --examples
	$(CARGO) nextest run --workspace --no-fail-fast
	$(CARGO) test --workspace --doc
	$(CARGO) test --workspace --features portcullis-speech/pocketsphinx --test pocketsphinx

check:
	@scripts/tools.sh build check
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps
	CARGO=$(CARGO) scripts/public_api.py
	$(CARGO) deny check licenses bans sources

bench:
	@scripts/tools.sh build bench
	$(CARGO) build --release --bins --examples
	scripts/model.sh
	$(CARGO) build --release -p portcullis-speech --examples
	python3 benches/recognition.py
	python3 benches/bench.py

bench-model:
	@scripts/tools.sh build bench
	@scripts/model.sh $(MODEL)
	$(CARGO) build --release --bins --examples
	$(CARGO) build --release -p portcullis-speech --examples
	python3 benches/recognition.py --batch $(if $(MODEL),--model $(MODEL) --languages)

long-run:
	@scripts/tools.sh build bench
	@scripts/model.sh
	$(CARGO) build --release --bin portcullis
	python3 benches/long_run.py --jobs $(LONG_RUN_JOBS) --seconds $(LONG_RUN_SECONDS)

soak:
	@scripts/tools.sh build bench
	@scripts/model.sh
	$(CARGO) build --release --examples
	python3 benches/soak.py $(SOAK_SECONDS)

bad-days:
	@scripts/tools.sh build bench
	$(CARGO) build --release --examples
	python3 benches/bad_days.py

fuzz:
	@scripts/tools.sh build test
	CARGO=$(CARGO) scripts/fuzz.sh $(FUZZ_SECONDS)

tools:
	@scripts/tools.sh build test check bench

screens:
	@scripts/tools.sh build test
	$(CARGO) build --bins --examples
	$(CARGO) nextest run --test integration --run-ignored only screens_of_every_page
