// Package powerloss computes the possible contents of a disk after a power failure. The kernel
// keeps the writes of a killed process and writes them to the disk later. After a power
// failure only synced writes are certain, and any part of the others may be there.
//
// strace records the file operations of a process ([Args]), [Parse] reads the record, a [Volume]
// applies it call by call, and after each call it can make an [Image] of the disk. For tests
// only.
//
// The assumed disk is poor, but honest:
//
//   - Data written before a successful fsync or fdatasync of its file stays.
//   - Of later writes any subset of the sectors is there, in any order, and likewise a change
//     of the file's size.
//   - A new, removed or renamed name is certain only after a sync of its directory; a sync of
//     the file does not help. A rename is atomic.
//   - A sector is written completely or not at all, and no other sector changes.
package powerloss
