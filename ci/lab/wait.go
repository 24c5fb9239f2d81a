package lab

import (
	"context"
	"fmt"
	"time"
)

// Poll asks check until it says done or until ctx ends, waiting longer and
// longer between questions (from a quarter of a second to five seconds), since
// an emulated machine has better things to do than to answer. The state that
// check last gave, or its last error, stands in the error.
func Poll(ctx context.Context, what string, check func(context.Context) (done bool, state string, err error)) error {
	const longest = 5 * time.Second
	pause := 250 * time.Millisecond
	began := time.Now()
	for {
		done, state, err := check(ctx)
		if done && err == nil {
			return nil
		}
		select {
		case <-time.After(pause):
			pause = min(longest, pause*3/2)
		case <-ctx.Done():
			if err != nil {
				state = fmt.Sprintf("%s (error: %v)", state, err)
			}
			return fmt.Errorf("waited %v for %s: %w; last state: %s",
				time.Since(began).Round(time.Second), what, context.Cause(ctx), state)
		}
	}
}
