# `make help` lists the targets. Everything works without make, too: see the commands.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

.DEFAULT_GOAL := help
.PHONY: help build test race lint fuzz vuln bench e2e chaos soak demo generate ci

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## one static binary: ./shiplog
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X shiplog/internal/cli.Version=$(VERSION)" -o shiplog .

test: ## all tests that need nothing but Go
	go test ./...

race: ## the same under the race detector
	go test -race ./...

lint: ## golangci-lint, with the import table as rules (installs it when missing)
	bash .ci/lint

fuzz: ## each fuzz target for FUZZTIME (10s)
	bash .ci/fuzz $(or $(FUZZTIME),10s)

vuln: ## known vulnerabilities in what we import and call (its database needs the internet)
	go run golang.org/x/vuln/cmd/govulncheck@v1.9.0 ./...

bench: ## shiplog beside a naive shipper, on the same broker in the same run
	go run ./bench

e2e: ## against a real Apache Kafka (needs logrotate, Java 17 and Maven, or SHIPLOG_E2E_BROKERS)
	cd e2e && go test -count=1 -timeout 25m -v ./...

chaos: ## the long form of every fault; writes docs/RELIABILITY.md
	cd e2e && SHIPLOG_E2E_LONG=1 SHIPLOG_E2E_TABLE=../docs/RELIABILITY.md go test -count=1 -timeout 90m -v ./...

soak: ## 20,000 lines/s for 30 minutes with a fault every 20 s; writes docs/RELIABILITY.md
	cd e2e && SHIPLOG_E2E_SOAK=$(or $(SOAK),30m) SHIPLOG_E2E_SOAK_TABLE=../docs/RELIABILITY.md go test -count=1 -timeout 90m -v -run TestSoak .

demo: ## the whole story on an embedded broker
	go run ./demo

generate: ## docs/CONFIGURATION.md and other generated files
	go generate ./...

ci: ## everything that .ci/run checks
	bash .ci/run
