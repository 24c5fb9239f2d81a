package discover

import "time"

const (
	announceEvery = 30 * time.Second
	queryFirst    = time.Second      // from the first question to the second
	queryMost     = 30 * time.Second // between any two
	answerWithin  = 250 * time.Millisecond
	answerPause   = time.Second // between any two packets that tell "here"
	sendAgain     = time.Second // after a packet could not be sent
)

// pace decides when one socket sends what.
type pace struct {
	query time.Time     // when the next question is due; zero for never
	wait  time.Duration // from that to the one after
	here  time.Time     // when the node tells of itself next
	last  time.Time     // when it did last
}

// newPace begins, or begins anew after the segment changed. jitter is in [0, 1).
func newPace(now time.Time, jitter float64) pace {
	soon := now.Add(fraction(answerWithin, jitter))
	return pace{query: soon, wait: queryFirst, here: soon}
}

// next is when to call due.
func (p *pace) next() time.Time {
	if !p.query.IsZero() && p.query.Before(p.here) {
		return p.query
	}
	return p.here
}

// due says what to send at the time now, and takes it as sent. A node that is
// not a member tells nothing.
func (p *pace) due(now time.Time, member bool, jitter float64) (query, here bool) {
	if !p.query.IsZero() && !now.Before(p.query) {
		query = true
		p.query = now.Add(p.wait)
		p.wait = min(2*p.wait, queryMost)
	}
	if !now.Before(p.here) {
		here = member
		p.here = now.Add(announceEvery - fraction(announceEvery/10, jitter))
		if here {
			p.last = now
		}
	}
	return query, here
}

// asked brings the next answer forward: one answers all who ask meanwhile.
func (p *pace) asked(now time.Time, jitter float64) {
	at := now.Add(fraction(answerWithin, jitter))
	if soonest := p.last.Add(answerPause); at.Before(soonest) {
		at = soonest
	}
	if at.Before(p.here) {
		p.here = at
	}
}

// found ends the questions of a member; who is none needs more than one answer.
func (p *pace) found(member bool) {
	if member {
		p.query = time.Time{}
	}
}

// failed takes back what due said: it could not be sent.
func (p *pace) failed(now time.Time, query, here bool) {
	if query {
		p.query, p.wait = now.Add(sendAgain), queryFirst
	}
	if here {
		p.here = now.Add(sendAgain)
	}
}

func fraction(d time.Duration, of float64) time.Duration { return time.Duration(float64(d) * of) }
