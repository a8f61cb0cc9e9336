# Bare make lists the targets.
.DEFAULT_GOAL := help

# .ci/run pins the versions.
STATICCHECK   = $(shell sed -n 's/^staticcheck=//p' .ci/run)
GOLANGCI_LINT = $(shell sed -n 's/^golangci=//p' .ci/run)
FUZZTIME      ?= 10s

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build the command kad into ./kad
	go build -o kad ./cmd/kad

.PHONY: test
test: ## run the tests
	go test -timeout 30m ./...

.PHONY: race
race: ## run the tests with the race detector
	./.ci/race

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (10s)
	./.ci/fuzz $(FUZZTIME)

.PHONY: bench
bench: ## run the benchmarks of all packages
	go test -run '^$$' -bench . -benchmem ./...

.PHONY: check
check: ## gofmt, go vet, staticcheck and the linters of .golangci.yml
	@test -z "$$(gofmt -l .)" || { echo 'gofmt would change:'; gofmt -l .; exit 1; }
	go vet ./...
	go run $(STATICCHECK) ./...
	go run $(GOLANGCI_LINT) run ./...

.PHONY: matrix
matrix: ## who connects to whom, of 81 pairs of NATs, and how fast (root, Linux)
	go test ./internal/field -count=1 -v -timeout 30m -run 'Matrix|RandomAgainst' -field.all

.PHONY: generate
generate: ## regenerate wire/pb from wire/kad.proto (needs protoc)
	go generate ./...

.PHONY: demo
demo: ## a network on this machine that stores, loses nodes and finds
	go run ./cmd/kad demo

.PHONY: ci
ci: ## all that CI does, installing what it lacks
	./.ci/run
