//go:build !race

package field

// atOnce is how many tests run at a time, if nobody says.
const atOnce = "8"
