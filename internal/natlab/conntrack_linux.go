package natlab

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// flushConntrack makes the kernel forget every connection that it tracks in the
// namespace of the calling thread: the message IPCTNL_MSG_CT_DELETE that names none.
func flushConntrack() error {
	s, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	const ctDelete = unix.NFNL_SUBSYS_CTNETLINK<<8 | 2
	order := binary.NativeEndian
	m := order.AppendUint32(nil, 20)                             // nlmsghdr: length,
	m = order.AppendUint16(m, ctDelete)                          // type,
	m = order.AppendUint16(m, unix.NLM_F_REQUEST|unix.NLM_F_ACK) // flags,
	m = order.AppendUint64(m, 1)                                 // sequence number and port;
	m = append(m, unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, 0)       // nfgenmsg
	if err := unix.Sendto(s, m, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(s, answer, 0)
	if err != nil {
		return err
	}
	if n < 20 {
		return fmt.Errorf("conntrack answers %d bytes", n)
	}
	if code := int32(order.Uint32(answer[16:])); code != 0 {
		return unix.Errno(-code)
	}
	return nil
}
