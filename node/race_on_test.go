//go:build race

package node

// raceDetector reports that the race detector is on: it makes large networks ten times
// as expensive and finds nothing in them that it does not find in small ones.
const raceDetector = true
