// Package ticket makes the tickets of a node: its ID and the addresses through which most peers
// reach it, in one word that people can pass on.
package ticket
