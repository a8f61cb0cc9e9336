package quic

import (
	"errors"

	quicgo "github.com/quic-go/quic-go"
)

// ErrWouldBlock: TryWrite found no room.
var ErrWouldBlock = errors.New("quic: write would block")

// TryWrite sends all of b if flow control allows it now, else nothing of it and
// returns ErrWouldBlock. It never blocks, so that a stream of small messages
// needs no goroutine to write them. It must not run beside a Write.
func (s *Stream) TryWrite(b []byte) error {
	err := s.s.TryWriteAll(b)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, quicgo.ErrWouldBlock):
		return ErrWouldBlock
	}
	return typed(err)
}
