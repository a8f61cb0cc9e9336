// Package store holds the records that peers, and the user of this node, have put at this
// node. [Store] is the interface that a node needs; [Memory] ends with the process, for tests
// and short-lived nodes; [Disk] is durable.
//
// A store trusts its caller to verify the signature of every record. It decides the rest: which
// of two records wins (each kind by its own rule, see Put), how long a record lives, and which
// records yield when room is short. The index does all of that, without I/O or a clock;
// Memory and Disk are an index and a place for the records.
//
// # The file
//
// Disk keeps one bbolt database of three buckets. Numbers are little-endian, times
// are Unix milliseconds, a checksum is the CRC-32C of the key (not for a state) and
// of the value after the checksum.
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
//	                             number is left: the Signed is replaced by
//	                             kind 1 | key 32 | sequence 8
//	                     source  0, or 4 or 6 and a network address, 4 or 8 bytes
//
//	state      key       name
//	           value     "kqS1" 4 | checksum 4 | length of all 4 | transaction 8 |
//	                     length of name 4 | name … | data …
//
// Every read verifies the checksum. A value that does not match is never returned, but dropped
// and counted. Each record and state holds its own key, start and length, so [Salvage] does
// not need any other part of a file to be intact.
//
// bbolt trusts the file, and panics or takes an old page for a new one if it is damaged. So
// [Open] first reads the whole file by itself, page by page, and refuses an inconsistent
// one (see survey); this also builds the index. All calls of bbolt run under guard.
//
// # Guarantees
//
// Put returns when the records are on the disk: one transaction and one fsync for a batch, and
// for all batches that arrived while another was written. A record that is not yet committed can
// be read (it was verified, and a read promises nothing), but Offer does not report it as
// held. Get, Has, Load, All and Offer never wait for a sync.
//
// When a commit fails, the changes of the index are undone, so that it agrees with the file
// again. The batch gets CodeReadOnly, gets go on, and the next Put tries again. Renewals of
// records that are held already need no write, and succeed.
//
// The process's own clock measures the life of a record. When the store is opened, the rest of
// it is until minus now, or minus the stamp if that is later than the clock, and never more
// than at receipt. A record that seems to have ended is not served, but stays in the file
// for an hour: if the clock was wrong and is set, it returns with the next Expire.
package store
