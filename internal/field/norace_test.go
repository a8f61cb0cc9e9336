//go:build !race

package field

// atOnce is the default number of tests that run at a time. They run in real time, beside
// the tests of other packages.
const atOnce = "4"
