// Package traversal makes and keeps direct paths to peers behind NATs, in the manner of
// ICE (RFC 8445). A call through a relay exchanges candidates; then both sides run
// connectivity checks (package punch) and QUIC's packets follow the path that they find.
//
//	Sessions    all sessions; the door of this package
//	session     one peer: one goroutine, its checklists, its path and its restarts
//	checklist   one call, outbound or inbound, and its connectivity checks
//	caller.go   outbound calls        callee.go   inbound calls
//	restart.go  ICE restarts          search.go   the search for random ports
//	socket.go   new probe sockets     binding.go  where other peers see our sockets
//
// It imports neither node nor the relay client: [Host] and [Relays] are what it needs of
// them.
package traversal
