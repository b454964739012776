# Tools, each built from a go.mod of its own (their graphs would otherwise enter the product's) and cached by
# the hash of that go.mod and the Go version, so that a changed pin builds once and an old one costs nothing.
TOOLS_DIR   := $(dir $(lastword $(MAKEFILE_LIST)))
TOOLS_CACHE ?= $(CACHE)/tools

# tool-hash NAME: names the build of hack/tools/NAME.
tool-hash = $(shell (cat $(TOOLS_DIR)$(1)/go.mod $(TOOLS_DIR)$(1)/go.sum; go env GOVERSION) 2>/dev/null | sha256sum | cut -c1-12)

CONTROLLER_GEN := $(TOOLS_CACHE)/controller-gen-$(call tool-hash,controller-gen)
GOLANGCI_LINT  := $(TOOLS_CACHE)/golangci-lint-$(call tool-hash,golangci-lint)
HELM           := $(TOOLS_CACHE)/helm-$(call tool-hash,helm)
export CONTROLLER_GEN GOLANGCI_LINT HELM

$(CONTROLLER_GEN):
	$(TOOLS_DIR)build.sh controller-gen $@
$(GOLANGCI_LINT):
	$(TOOLS_DIR)build.sh golangci-lint $@
$(HELM):
	$(TOOLS_DIR)build.sh helm $@

.PHONY: tools
tools: $(CONTROLLER_GEN) $(GOLANGCI_LINT) $(HELM) ## Build the pinned tools (cached)

.PHONY: controller-gen-path
controller-gen-path: $(CONTROLLER_GEN)
	@echo $(CONTROLLER_GEN)
