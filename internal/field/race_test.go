//go:build race

package field

// atOnce is how many tests run at a time, if nobody says: the race detector looks at
// the programs, too, and slows them down.
const atOnce = "3"
