// Package membership is the node's place in its network: it keeps the node's
// key, lets an operator enrol the node or joins with an invite, serves the
// machine API to members, admits newcomers when it is an issuer, and keeps the
// directory of members and the mesh up to date.
//
// Nothing in it needs a machine: the tests run whole networks in one process.
package membership
