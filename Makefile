.PHONY: test bench bench-apache ci

# Needs nothing but Go.
test:
	go test ./...

# What an event costs, beside the Kafka library alone and kcat: see bench/run.sh.
bench:
	bench/run.sh

# The same on three Apache Kafka brokers, and beside the scripts that pipelines begin with.
bench-apache:
	bench/run.sh apache

# Everything: vet, lint, race, and the tiers that install what they need, two at a time.
ci:
	.ci/run
