package discover

import (
	"slices"
	"testing"
	"time"
)

var start = time.Unix(1_000_000, 0)

// play lets p send for so long and returns when it asked and told, in
// milliseconds; each packet may be answered by what the test does with p.
func play(p *pace, member bool, length time.Duration, jitter float64) (queries, heres []int64) {
	for at := p.next(); at.Before(start.Add(length)); at = p.next() {
		query, here := p.due(at, member, jitter)
		if query {
			queries = append(queries, at.Sub(start).Milliseconds())
		}
		if here {
			heres = append(heres, at.Sub(start).Milliseconds())
		}
	}
	return queries, heres
}

func TestNewcomersAskWithPauses(t *testing.T) {
	p := newPace(start, 0)
	queries, heres := play(&p, false, 100*time.Second, 0)
	if want := []int64{0, 1000, 3000, 7000, 15000, 31000, 61000, 91000}; !slices.Equal(queries, want) || heres != nil {
		t.Errorf("asked at %v, told at %v", queries, heres)
	}
	p.found(false)
	if queries, _ := play(&p, false, 130*time.Second, 0); !slices.Equal(queries, []int64{121000}) {
		t.Errorf("after an answer asked at %v", queries)
	}
}

func TestMembersTellAndStopAsking(t *testing.T) {
	p := newPace(start, 0.5)
	queries, heres := play(&p, true, 5*time.Second, 0.5)
	if !slices.Equal(queries, []int64{125, 1125, 3125}) || !slices.Equal(heres, []int64{125}) {
		t.Errorf("asked at %v, told at %v", queries, heres)
	}
	p.found(true)
	queries, heres = play(&p, true, 100*time.Second, 0.5)
	if queries != nil || !slices.Equal(heres, []int64{28625, 57125, 85625}) {
		t.Errorf("asked at %v, told at %v", queries, heres)
	}
}

// However many ask, an answer goes out once a second at most.
func TestAnswersAreLimited(t *testing.T) {
	p := newPace(start, 0)
	p.found(true)
	var heres []time.Time
	for ms := range 10_000 {
		now := start.Add(time.Duration(ms) * time.Millisecond)
		p.asked(now, 0.9)
		if !now.Before(p.next()) {
			if _, here := p.due(now, true, 0); here {
				heres = append(heres, now)
			}
		}
	}
	if len(heres) != 10 {
		t.Errorf("%d answers in 10 s", len(heres))
	}
	for i := 1; i < len(heres); i++ {
		if pause := heres[i].Sub(heres[i-1]); pause < answerPause {
			t.Errorf("a pause of %v", pause)
		}
	}
	// one question is answered within a quarter of a second
	now := start.Add(20 * time.Second)
	p.due(now, true, 0)
	now = now.Add(answerPause)
	p.asked(now, 0.5)
	if at := p.next().Sub(now); at != answerWithin/2 {
		t.Errorf("an answer after %v", at)
	}
	p.asked(now, 0.9) // a second one does not put it off
	if at := p.next().Sub(now); at != answerWithin/2 {
		t.Errorf("an answer after %v", at)
	}
}

func TestWhatCouldNotBeSentIsSentAgain(t *testing.T) {
	p := newPace(start, 0)
	query, here := p.due(start, true, 0)
	p.failed(start, query, here)
	if query, here = p.due(start.Add(sendAgain), true, 0); !query || !here {
		t.Errorf("asked %v, told %v", query, here)
	}
	if queries, _ := play(&p, true, 9*time.Second, 0); !slices.Equal(queries, []int64{2000, 4000, 8000}) {
		t.Errorf("asked at %v", queries)
	}
}
