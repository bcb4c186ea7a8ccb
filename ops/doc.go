// Package ops holds what those need who keep weir running: a Grafana dashboard and
// Prometheus alert rules over its metrics. There is no code but the tests, which
// also hold the compose file and the Dockerfile to their promises.
package ops
