# kraft-operator. `make help` lists what there is.
SHELL := /bin/bash -o pipefail
.DEFAULT_GOAL := help

CACHE   ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/kraft-operator
BIN     := bin
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
IMAGE   ?= kraft.local/kraft-operator:$(VERSION)
LDFLAGS := -s -w -X main.version=$(VERSION)
# One flavour of everything, so that tests and binaries share the build cache.
export CGO_ENABLED := 0
GO_BUILD := go build -ldflags '$(LDFLAGS)'

include hack/tools/tools.mk

##@ Two commands
.PHONY: demo
demo: ## A cluster on a real Kubernetes: operator, sample, records, failures, a closing line
	hack/demo.sh up

.PHONY: test
test: build ## Unit, node-level, envtest and a short simulation
	hack/test.sh

##@ Product
.PHONY: build
build: ## Build kraftd, manager and the demo's client into bin/
	$(GO_BUILD) -o $(BIN)/ ./cmd/... ./hack/image ./test/e2e/kraftload

.PHONY: image
image: build ## Build the image without docker: bin/image.tar
	$(BIN)/image --kraftd $(BIN)/kraftd --manager $(BIN)/manager --tag $(IMAGE) --out $(BIN)/image.tar

.PHONY: demo-down
demo-down: ## Remove all that the demo made, and nothing else
	hack/demo.sh down

##@ Code
.PHONY: generate
generate: $(CONTROLLER_GEN) ## Write again what is generated: records, schemas, deepcopy, CRDs, RBAC, API reference
	go generate ./internal/... ./api/...
	hack/generate.sh
	go run ./hack/apidoc

.PHONY: verify
verify: $(CONTROLLER_GEN) ## Fail if a generated file isn't what its generator writes, or go.mod isn't tidy
	hack/verify-generated.sh
	hack/verify.sh

.PHONY: lint
lint: $(GOLANGCI_LINT) ## gofmt, vet and golangci-lint, with the import arrows
	for module in . bench hack/localkube; do (cd $$module && $(GOLANGCI_LINT) run --timeout 15m --allow-parallel-runners) || exit 1; done

.PHONY: fmt
fmt: ## gofmt everything
	gofmt -w $$(git ls-files '*.go')

##@ Proof
SEEDS ?= 500
SEED0 ?= 1
DISK  ?=
.PHONY: sim
sim: ## Whole quorums under seeded faults: make sim SEEDS=n [SEED0=s] [DISK=real|fake]
	go run ./internal/quorum/sim/cmd -seeds $(SEEDS) -seed0 $(SEED0) -disk "$(DISK)"

.PHONY: sim-long
sim-long: ## 10,000 seeds and a disk lost at every event of formation: 5 minutes on two idle cores
	SIM_EVERY=1 go test -count=1 -timeout 30m -run TestDiskLostAtEveryEventOfFormation ./internal/quorum/sim
	go run ./internal/quorum/sim/cmd -seeds 10000 -seed0 $(SEED0)

.PHONY: sim-mutants
sim-mutants: ## Bugs planted in the engine: the simulation must find each within 2,000 seeds (ONLY=name: one, and its story)
	go run -tags mutants ./internal/quorum/sim/mutants $(if $(ONLY),-only $(ONLY))

.PHONY: planner-mutants
planner-mutants: ## Bugs planted in the operator: the planners' simulations or crash points must find each (ONLY=name: one, and its story)
	go run -tags mutants ./test/mutants $(if $(ONLY),-only $(ONLY))

.PHONY: crashpoints
RUN   ?=
EVERY ?= 1
WORLDS ?= 8
crashpoints: ## The operator is killed at each of its writes and requests, and has to converge: make crashpoints [RUN=verb[/point[/fault]]] [EVERY=n]
	go run ./test/crashpoints/cmd -run "$(RUN)" -every $(EVERY)

.PHONY: crashpoints-real
crashpoints-real: ## The same on a real API server, etcd and kube-controller-manager, with kraftds in process: all of form, roll and delete, of the rest each tenth [WORLDS=n at once]
	. hack/lib.sh && "$$(localkube_bin)" build && KUBEBUILDER_ASSETS=$$(assets) CGO_ENABLED=0 go run ./test/crashpoints/cmd -real -worlds $(WORLDS) -run "$(RUN)" -every $(EVERY)

.PHONY: e2e
e2e: $(HELM) ## The demo's path and the bars on a real Kubernetes of its own
	hack/e2e.sh

.PHONY: e2e-full
e2e-full: $(HELM) ## A cluster's long life on a real Kubernetes, under load, with a table of what clients saw: up to 75 minutes
	E2E_FULL=1 E2E_CLUSTER=kraft-full hack/e2e.sh

.PHONY: e2e-keda
e2e-keda: ## KEDA, built from its sources, scales brokers by a group's backlog; 7 minutes the first time
	E2E_KEDA=1 E2E_CLUSTER=kraft-keda hack/e2e.sh

.PHONY: interop
interop: build ## Apache Kafka 4.3.1's own tools against our cluster and our disks
	hack/interop.sh

.PHONY: interop-quorum
interop-quorum: ## Quorums of kraftd mixed with Apache Kafka 4.3.1's controllers and brokers
	hack/interop-quorum.sh

.PHONY: bench-quorum
bench-quorum: ## The engine's speed beside hashicorp/raft and Apache Kafka: make bench-quorum [BENCHFLAGS=-quick]
	hack/bench-quorum.sh

.PHONY: bench-operator
bench-operator: ## The operator's memory and reaction with 100 clusters of 6 modelled nodes, on a real apiserver
	hack/bench-operator.sh

.PHONY: fuzz
FUZZTIME ?= 20s
fuzz: ## Every fuzz target for FUZZTIME each
	hack/fuzz.sh $(FUZZTIME)

.PHONY: clean
clean: ## Remove bin/
	rm -rf $(BIN)

.PHONY: help
help: ## This list
	@awk 'BEGIN {FS = ":.*##"} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-zA-Z0-9_-]+:.*##/ {printf "  %-15s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
