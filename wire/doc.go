// Package wire is what goes over the wire: frames, messages, peer IDs,
// addresses and signed records, as bytes and as validated Go values. SPEC.md
// and kad.proto beside it are the specification.
package wire
