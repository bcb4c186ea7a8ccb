.PHONY: test bench ci

# Needs nothing but Go.
test:
	go test ./...

# What an event costs, beside the Kafka library alone and kcat: see bench/run.sh.
bench:
	bench/run.sh

# Everything: vet, lint, race, and the tiers that install what they need.
ci:
	.ci/run
