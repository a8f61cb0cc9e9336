// Package powerloss tells what a disk may hold after the power failed. A process
// that is killed leaves its writes to the kernel, which brings them to the disk in
// its own time; when the power fails, only what was synced is surely there, and of
// the rest any part.
//
// strace records what a process does to its files ([Args]), [Parse] reads that, a
// [Volume] takes it in call by call, and after each of them makes an [Image] of what
// the disk may hold. For tests only.
//
// The disk that is assumed is a poor one, but honest:
//
//   - What fsync or fdatasync of a file was called after, and answered for, stays.
//   - Of what was written since any subset of the sectors is there, in any order, and
//     so for a change of the file's size.
//   - A name in a directory, new, gone or changed, is there for sure once the
//     directory was synced; syncing the file does not help. A renaming is whole.
//   - A sector is written wholly or not at all, and no other changes.
package powerloss
