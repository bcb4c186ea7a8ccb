#!/usr/bin/env bash
# Builds one binary for each system, with checksums: what a class or a server needs, and no Go there.
#
#     ops/dist.sh            # into dist/
#     ops/dist.sh DIR
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-dist}
mkdir -p "$out"
out=$(cd "$out" && pwd)
for platform in linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64; do
  os=${platform%/*} arch=${platform#*/} suffix=
  [ "$os" = windows ] && suffix=.exe
  echo "weir-$os-$arch$suffix"
  CGO_ENABLED=0 GOOS=$os GOARCH=$arch go build -trimpath -ldflags '-s -w' -o "$out/weir-$os-$arch$suffix" ./cmd/weir
done
cd "$out"
if command -v sha256sum >/dev/null; then sha256sum weir-*; else shasum -a 256 weir-*; fi >SHA256SUMS
cat SHA256SUMS
