// Package wire defines the messages between peers, as bytes and as validated Go
// values: frames, messages, peer IDs, addresses and signed records. SPEC.md and
// kad.proto in its folder specify it for readers of any language.
//
// On the RPC stream of a connection each frame stands behind its length:
//
//	length   varint, at most 64 KiB
//	frame    protobuf message Frame: id, and one body
//
// An application's stream has one such header, and then is the application's:
//
//	length   varint, at most 1 KiB
//	header   protobuf message StreamHeader: the protocol's name
//	…        anything
//
// Parsing checks everything once: code that has a [Message] need not check
// lengths and counts again. Parsing never panics and takes memory in
// proportion to its input. Signatures are the exception: Verify of a [Signed]
// costs far more than parsing, and is left to the caller.
//
// The codec is written by hand on protowire and gives the bytes that the
// generated code in pb gives, which tests hold against it; a reply of 20
// contacts takes a third of the time and 4 allocations for 89. The package
// uses no sockets and no clock: now is an argument.
//
// # Errors
//
// These match with [errors.Is]: [ErrMalformed] and [ErrTooLarge] (frames),
// [ErrStreamHeader], [ErrAddr], [ErrPeerID], [ErrIntroduction], and of records
// [ErrRecord], [ErrBadKind], [ErrBadKey], [ErrBadSignature], [ErrExpired] and
// [ErrTooFarAhead]. A [Code] matches the [Error] that a peer sent. These match with
// [errors.As]: *[InvalidError], a frame whose body breaks a rule, and [Error].
package wire

//go:generate sh generate.sh
