# Every target needs only this clone, Debian and Node 20 with npm; what is missing is installed by `setup`.
NODE := node_modules/.bin/node
# Debian's docker client and dockerd, unpacked by setup where the machine has none, come last.
export PATH := $(PATH):/usr/sbin:/sbin:$(CURDIR)/build/debian-docker/usr/bin
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo --preserve-env=PATH,CI)

.PHONY: run stop demo demo-stop test check setup bench format

run: ## start tombolod on this host and take the tour
	@tools/setup.sh run
	@$(SUDO) $(NODE) tools/run.ts

stop: ## remove the tour's containers, then stop tombolod and its containerd
	@tools/setup.sh run
	@$(SUDO) $(NODE) tools/stop.ts

demo: ## three hosts on this machine, a swarm of them, networks and a service over them, step by step
	@tools/setup.sh demo
	@$(SUDO) $(NODE) tools/demo.ts

demo-stop: ## end the demo's hosts and all that is on them
	@tools/setup.sh npm
	@$(SUDO) $(NODE) tools/demo.ts stop

test: ## every tier of tests, one summary
	@tools/setup.sh test
	@$(SUDO) $(NODE) tools/test.ts

check: ## what needs no root: types, lint, format, unit tests
	@tools/setup.sh npm
	@$(NODE) tools/test.ts types lint format unit

setup: ## install what is missing
	@tools/setup.sh run
	@tools/setup.sh test

bench: ## the figures, against Debian's dockerd in the same run
	@tools/setup.sh bench
	@$(SUDO) $(NODE) bench/bench.ts

format:
	@tools/setup.sh npm
	@node_modules/.bin/biome format --write .
