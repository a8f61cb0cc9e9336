//go:build !unix

package quic

// cpuSeconds is not known here.
func cpuSeconds() float64 { return 0 }
