// Package reach is what a node knows of itself: where it is, and who gets in there. It
// opens no socket, starts no goroutine and has no clock: a node tells it the time, what
// peers have said and who has come in, asks others what it says they are to be asked,
// and makes of its verdicts what others hear.
package reach
