// Package nodetest makes networks of real nodes for the tests of programs that use package
// node.
//
// [Run] runs a test in virtual time, over a simulated network with delay, loss, partitions,
// NATs and hosts that die silently. Hours pass in seconds, and there are no sockets.
//
//	func TestSurvivesAPartition(t *testing.T) {
//		nodetest.Run(t, 8, nodetest.Options{Delay: 40 * time.Millisecond}, func(t *testing.T, net *nodetest.Network) {
//			net.Partition(net.Nodes()[:4])
//			time.Sleep(time.Hour) // takes no time
//			net.Heal()
//			…
//		})
//	}
//
// [Loopback] starts nodes on 127.0.0.1 in real time, for tests that need other processes
// or real sockets.
//
// The nodes are complete: QUIC, TLS and the records are the same as in production. In virtual
// time the rules of testing/synctest hold: the test must not wait for anything outside the
// bubble, such as real sockets or goroutines that were started before.
package nodetest
