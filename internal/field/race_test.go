//go:build race

package field

// atOnce is the default number of tests that run at a time. The race detector watches the
// programs, too, and slows them down.
const atOnce = "3"
