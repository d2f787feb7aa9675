# Every command installs what it needs first: Debian packages, Node and the npm packages, the eBPF
# objects. The second time there is nothing to do and nothing is said.

NODE = node_modules/.bin/node
# These use all the machine; beside them other tests would miss their time limits.
ALONE = test/e2e/flood.test.ts test/kill/kill.test.ts
TESTS = $(filter-out $(ALONE),$(shell find test -name '*.test.ts' | sort))
MAKEFLAGS += --no-print-directory

.PHONY: help setup setup-test build demo test check fuzz run bench-dataplane bench-load bench-portal bench-signalling clean

help:
	@echo 'make demo        build a small internet on this machine and watch a tunnel come up'
	@echo 'make test        run every check'
	@echo 'make fuzz        try to break what reads packets from strangers, for SECONDS=60 each'
	@echo 'make bench-dataplane  compare the data plane with plain forwarding, VXLAN and user space'
	@echo 'make bench-signalling  how many logins a second the server bears'
	@echo 'make bench-portal  how long the portal’s pages take with 100,000 users in the store'
	@echo 'make run         start the broker on this machine (the same as bin/sixway serve)'
	@echo 'make build       install what is needed and build the eBPF programs'
	@echo 'make check       types and lint only'
	@echo 'make clean       remove what was built and installed here'

setup:
	@tools/install-packages.sh run
	@$(MAKE) -s node_modules/.installed

setup-test: setup
	@tools/install-packages.sh test

# npm is asked to be quiet; what it prints is shown when it fails.
node_modules/.installed: package.json package-lock.json .npmrc
	@echo 'Installing npm packages'
	@npm ci --loglevel=error >.npm-ci.log 2>&1 || { cat .npm-ci.log >&2; exit 1; }
	@rm -f .npm-ci.log
	@touch $@

build: setup
	@tools/build-bpf.sh

demo: setup-test build
	@$(NODE) tools/demo.ts $(if $(KEEP),--keep)

check: setup
	@$(NODE) node_modules/.bin/tsc
	@node_modules/.bin/biome check --error-on-warnings .

test: setup-test build check
	@$(NODE) --test --test-concurrency=2 $(TESTS)
	@$(NODE) --test --test-concurrency=1 $(ALONE)

fuzz: setup
	@tools/install-packages.sh fuzz
	@SECONDS_EACH=$(or $(SECONDS),60) tools/fuzz.sh

# How long the broker takes to start with TUNNELS=1000000 in its database, and what the server needs.
bench-load: setup-test build
	@$(NODE) bench/load.ts $(or $(TUNNELS),1000000)
	@$(NODE) bench/million.ts --users $(or $(TUNNELS),1000000)

# How long the portal's pages take with USERS=100000 in the store, over real HTTP.
bench-portal: setup
	@$(NODE) bench/portal.ts $(or $(USERS),100000)

bench-dataplane: setup-test build
	@$(NODE) bench/dataplane.ts $(ARGS)

# How many logins a second the server bears on this machine, with the generator beside it.
bench-signalling: setup-test build
	@$(NODE) bench/signalling.ts $(ARGS)

run: build
	@bin/sixway serve

clean:
	rm -rf build node_modules
