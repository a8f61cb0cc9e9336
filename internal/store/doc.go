// Package store holds the records that other peers, and our own user, have put
// at this node. [Store] is what a node needs of it; [Memory] ends with the process,
// for tests and short-lived nodes; [Disk] lasts.
//
// A store trusts its caller for signatures: every record that enters was verified.
// It decides the rest: which of two records stands (each kind by its own rule, see
// Put), how long, and whose give way when room is short. All of that is the index,
// which does no I/O and knows no clock; Memory and Disk are an index each, and a
// place for the records.
//
// # The file
//
// Disk keeps one bbolt database of three buckets. Numbers are little-endian, times
// are Unix milliseconds, a checksum is the CRC-32C of the key (but for a state) and
// of all of the value behind the checksum.
//
//	kadquic    "format"  "kadquic store 1"
//	           "stamp"   last time written 8 | CRC-32C of that 4
//
//	records    key       kind 1 | key 32 | publisher 32 (open and provider only)
//
//	           value     "kqR1" 4 | checksum 4 | length of all 4 | flags 1 | source 9 |
//	                     received 8 | until 8 | remembered until 8 | Signed …
//
//	                     flags   1 cached, 2 from a neighbour, 4 only the sequence
//	                             number is left: instead of the Signed stands
//	                             kind 1 | key 32 | sequence 8
//	                     source  0, or 4 or 6 and a network address, 4 or 8 bytes
//
//	state      key       name
//	           value     "kqS1" 4 | checksum 4 | length of all 4 | transaction 8 |
//	                     length of name 4 | name … | data …
//
// The checksum is looked at with every read. What does not match it is never
// returned: it is dropped and counted. Records and states tell in themselves where
// they begin, where they end and what their key is, so that [Salvage] needs nothing
// else of a file to be whole.
//
// bbolt believes what it reads, and panics or takes an old page for a new one where
// the file is damaged. So [Open] first reads all of it by itself, page by page, and
// refuses what does not fit together (see survey); this also builds the index. And
// whatever enters bbolt does so under guard.
//
// # What is promised
//
// Put returns when the records are on the disk: one transaction and one fsync for a
// batch, and for all that came while another was written. What is not yet committed
// may be read (it was verified, and reading it promises nothing), but no OFFER is
// told that it is held. Get, Has, Load, All and
// Offer never wait for the disk to sync.
//
// When a commit fails the changes of the index are undone, which so agrees with
// the file again; the batch is answered with CodeReadOnly, gets go on, and the next
// Put tries again. Renewals of what is held already need no write, and succeed.
//
// A record's life is counted by the process's own clock. What is left of it when the
// store is opened is until minus now, or minus the stamp if the clock says that this
// is still to come, and never more than at receipt. What seems to have ended is not
// served, but stays in the file for an hour: if the clock was wrong and is set, it
// wakes at the next Expire.
package store
