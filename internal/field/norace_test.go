//go:build !race

package field

// atOnce is how many tests run at a time, if nobody says: in real time, and other
// packages are tested meanwhile.
const atOnce = "4"
