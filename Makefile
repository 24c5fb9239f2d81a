# Two targets do all: `make run` and `make test`. `make help` lists the rest.
BOARD   ?= qemu-amd64
NODES   ?= 1
VERSION ?=
OUT     := out/$(BOARD)
NET     ?= run
GO      ?= go
TOOLS   := $(GO) tool -modfile=ci/tools/go.mod
MYCELIUM := bin/mycelium
# The machine API's protocol, and where its generated code goes.
PROTOCOL  := pkg/api/machine/v1
GENERATED := $(PROTOCOL)

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: deps
deps: ## install the Debian packages that building and testing need
	@ci/deps

.PHONY: build
build: ## build the command line, bin/mycelium
	$(GO) build -trimpath -o $(MYCELIUM) ./cmd/mycelium

.PHONY: image
image: deps build ## build out/BOARD/{os.efi,disk.img,manifest.json}; BOARD=all: every board's, and compressed
	$(MYCELIUM) image build --board $(BOARD) --out $(if $(filter all,$(BOARD)),out,$(OUT))

.PHONY: demo-image
demo-image: build ## build the demo workload's image, out/hello.tar
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -buildid=' -o out/hello ./cmd/hello
	$(MYCELIUM) image oci --binary out/hello --name mycelium.os/hello:1 -o out/hello.tar

.PHONY: run
run: image demo-image ## boot the OS in QEMU, wait until the node is Ready, run the demo workload
	$(MYCELIUM) qemu up --name $(NET) --nodes $(NODES) --image $(OUT)/disk.img --wait ready --timeout 15m
	$(MYCELIUM) qemu demo --name $(NET) --image-archive out/hello.tar

.PHONY: stop
stop: ## stop what `make run` started
	$(MYCELIUM) qemu down --name $(NET)

.PHONY: generate
generate: deps ## generate the Go code of the machine API's protocol
	$(GO) build -modfile=ci/tools/go.mod -o bin/tools/ google.golang.org/protobuf/cmd/protoc-gen-go connectrpc.com/connect/cmd/protoc-gen-connect-go
	PATH="$(CURDIR)/bin/tools:$$PATH" protoc -I $(PROTOCOL) --go_out=$(GENERATED) --go_opt=paths=source_relative \
		--connect-go_out=$(GENERATED) --connect-go_opt=paths=source_relative machine.proto

.PHONY: check-generated
check-generated: ## fail unless the generated code is what `make generate` makes
	@new=$$(mktemp -d) && trap 'rm -rf "$$new"' EXIT && \
	$(MAKE) --no-print-directory generate GENERATED="$$new" && \
	{ diff -ru -x '*.proto' $(PROTOCOL) "$$new" || \
		{ echo "the code in $(PROTOCOL) is not what its protocol generates: run make generate and commit" >&2; exit 1; }; }

.PHONY: fmt
fmt: ## format the Go code
	$(TOOLS) gofumpt -w $$(git ls-files '*.go')

.PHONY: lint
lint: ## gofumpt, golangci-lint
	$(TOOLS) golangci-lint run ./...

# One goroutine each, and megabytes of simulated disk: the race detector makes minutes of their seconds.
SIMULATIONS := pkg/update/uefi|pkg/update/fatslot

.PHONY: check
check: ## fast: lint (vet among it), unit tests, and whether the command line compiles for macOS
	@$(MAKE) --no-print-directory lint
	ci/darwin
	$(GO) test $$($(GO) list ./... | grep -E '/($(SIMULATIONS))$$')
	$(GO) test -race $$($(GO) list ./... | grep -vE '/ci/|/($(SIMULATIONS))$$')

.PHONY: test
test: deps ## everything that CI runs: checks, images, conformance and fault tests in QEMU
	@ci/test

.PHONY: test-faults
test-faults: image demo-image ## what CI has no time for: three servers, the rarer faults of updates, a rollout, power cuts: three hours emulated
	$(GO) test -count=1 -timeout 240m -v -run 'TestSystem/(three_servers|update_faults|rollout|power_cuts_.*)$$' ./ci/system

.PHONY: test-boards
test-boards: demo-image ## every board's image, checked, and its machines in QEMU; network boot and installation
	@$(MAKE) --no-print-directory image BOARD=all
	$(GO) test -count=1 -v ./ci/boards
	$(GO) test -count=1 -timeout 180m -v -run 'TestSystem/(pc|arm64|rpi|netboot|install|network_install|secure_boot|wifi)$$' ./ci/system

.PHONY: test-upstream
test-upstream: image demo-image ## a part of Kubernetes' own end-to-end tests (a long build)
	$(GO) test -count=1 -timeout 240m -v -tags upstream -run TestUpstream ./ci/conformance

.PHONY: test-k3s
test-k3s: ## vet and unit tests of the stripped K3s and of what is changed in its modules
	$(GO) run ./rootfs/k3sbuild/cmd/k3sbuild test

.PHONY: test-variants
test-variants: ## compile what no image has yet: K3s and rt for arm64
	$(GO) test -count=1 -timeout 60m -v -tags variants -run TestVariants ./rootfs/k3sbuild

.PHONY: sizes
sizes: ## show each component's share of the OS file
	$(MYCELIUM) image sizes $(OUT)/os.efi

.PHONY: bench-boot
bench-boot: image demo-image ## compare boot time, memory and disk with Debian 12 and full K3s
	$(GO) run ./ci/bench --image $(OUT)/disk.img --demo out/hello.tar

.PHONY: bench-flash
bench-flash: build ## compare `mycelium flash` with dd (needs 8 GiB in out/)
	$(GO) run ./ci/bench/flash

.PHONY: bump-prereqs
bump-prereqs: ## pin the newest Debian packages (kernel, boot loader, ...) in the lock file
	$(GO) run ./image/debian/cmd/debian-lock bump $(PACKAGES)

.PHONY: bump-k3s
bump-k3s: ## move to another K3s: make bump-k3s VERSION=<module version>
	$(GO) run ./rootfs/k3sbuild/cmd/bump-k3s $(VERSION)

.PHONY: clean
clean: ## remove bin/ and out/ (the build cache stays)
	rm -rf bin out
