// Package control is how commands speak to a node, their own or the daemon's.
//
// [API] lists the operations of commands. [Local] answers from a node in the same
// process, [Client] from one in another process, through the socket where that
// one runs [Serve]; so a command is written once. The two ends speak HTTP over a
// unix socket:
//
//	POST /v1/NAME  {…}      → 200 {…}                      one answer
//	                        → 200 {"item":{…}}…{"end":true}  a stream, one object a line
//	                        → 4xx, 5xx {"error":"…","codes":["not_found"]}
//
// A stream that fails half way ends with the object of the error in place of
// {"end":true}; one that ends with neither was cut off. A caller who goes away
// ends the work that was done for it.
//
// The socket is DIR/control.sock, DIR being the node's profile. Only the owner
// can open it, so requests need no further authentication.
package control
