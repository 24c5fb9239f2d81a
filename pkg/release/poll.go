package release

import (
	"math"
	"math/rand/v2"
	"time"
)

// NextPoll returns how long to wait after a poll: interval, a quarter more or
// less. A failed poll changes nothing about it, so that a server that comes back
// is not met by all nodes at once.
func NextPoll(interval time.Duration, r *rand.Rand) time.Duration {
	return time.Duration(float64(interval) * (0.75 + r.Float64()/2))
}

// FirstPoll returns how long to wait after the start. It is the rest of a wait
// of NextPoll's into which the start fell at random (a renewal process in
// equilibrium), so the polls of many nodes that start at the same time come at a
// constant rate from the beginning.
func FirstPoll(interval time.Duration, r *rand.Rand) time.Duration {
	// A moment falls into a long wait more often than into a short one: the wait
	// around it has a density that grows with its length.
	wait := math.Sqrt(0.75*0.75 + r.Float64()) // from 0.75 to 1.25
	return time.Duration(float64(interval) * wait * r.Float64())
}
