#!/bin/sh
# Regenerates pb/kad.pb.go from kad.proto; run by go generate. Needs protoc;
# protoc-gen-go is built from the version of protobuf in go.mod. The comment
# that names protoc's version is left out, so that any protoc gives the same file.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
go build -o "$tmp/protoc-gen-go" google.golang.org/protobuf/cmd/protoc-gen-go
protoc --plugin="$tmp/protoc-gen-go" -I .. --go_out="$tmp" --go_opt=paths=source_relative wire/kad.proto
grep -v '^//.*protoc  *(\{0,1\}v[0-9]' "$tmp/wire/kad.pb.go" > pb/kad.pb.go
