# The few things one does here. `make help` lists them. Everything lives in .venv; nothing needs to be installed
# before but Python 3.11 or newer.

BIN := .venv/bin
READY := .venv/.ready
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help demo test check bench docs assets clean servers

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1|\2/p' Makefile | while IFS='|' read -r what why; do \
		printf '%-12s %s\n' "$$what" "$$why"; done

demo: $(READY) ## deploy a small shop under load, well and badly; KEEP=1 leaves it running
	@$(BIN)/opsbook demo $(if $(KEEP),--keep) $(DEMO_ARGS)

test: $(READY) servers ## lint, types, import contracts and all tests; PYTEST_ARGS="-k word" for some of them
	@status=0; sh .ci/check || status=1; sh .ci/test $(PYTEST_ARGS) || status=1; exit $$status

check: $(READY) ## lint, types and import contracts only
	@sh .ci/check

bench: $(READY) ## measure what the design promises; each figure beside its target
	@status=0; for bench in bench/[a-z]*.py; do \
		case $$bench in bench/harness.py) continue;; esac; \
		$(BIN)/python "$$bench" || status=1; done; exit $$status

docs: $(READY) ## write the generated reference pages anew
	@$(BIN)/python .ci/reference.py

assets: $(READY) ## fetch the console's libraries from npm, as the lock file names them
	@$(BIN)/python assets/build.py

clean: ## remove .venv, caches and builds
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

servers: $(READY)
	@sh .ci/servers

$(READY): pyproject.toml uv.lock .ci/install
	@sh .ci/install
	@touch $@
