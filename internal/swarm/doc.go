// Package swarm holds the building blocks of the connections of a node: the request stream of
// one connection ([RequestStream]), limits per peer ([Quotas]), round-trip
// estimates ([RTT]), peers that could not be dialled ([Backoff]), peers that are being
// looked for ([Wanted]), and the results of checking peer records ([VerifyCache]).
package swarm
