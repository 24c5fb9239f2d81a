package clock

import (
	"testing"
	"time"
)

func date(year int) time.Time { return time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC) }

func TestInitial(t *testing.T) {
	built := date(2026)
	tests := []struct {
		name      string
		kept, rtc time.Time
		want      time.Time
		source    string
	}{
		{"sane clock", time.Time{}, date(2027), date(2027), RTC},
		{"1970", time.Time{}, date(1970), built, Floor},
		{"2040", time.Time{}, date(2040), built, Floor},
		{"1970, a time was kept", date(2028), date(1970), date(2028), Floor},
		{"2040, a time was kept", date(2028), date(2040), date(2028), Floor},
		{"behind the kept time", date(2028), date(2027), date(2028), Floor},
		{"ahead of the kept time", date(2028), date(2029), date(2029), RTC},
		{"kept time before the build (older OS)", date(2020), date(2027), date(2027), RTC},
		{"kept time is mad", date(2099), date(2027), date(2027), RTC},
		{"exactly the build", time.Time{}, built, built, RTC},
	}
	for _, tt := range tests {
		got, source := NewBounds(built, tt.kept).Initial(tt.rtc)
		if !got.Equal(tt.want) || source != tt.source {
			t.Errorf("%s: %v from %s, want %v from %s", tt.name, got, source, tt.want, tt.source)
		}
	}
}

func TestCheck(t *testing.T) {
	b := NewBounds(date(2026), date(2027))
	for year, ok := range map[int]bool{1970: false, 2026: false, 2027: true, 2030: true, 2037: false} {
		if err := b.Check(date(year)); (err == nil) != ok {
			t.Errorf("%d: %v", year, err)
		}
	}
}

func TestAdjust(t *testing.T) {
	for offset, want := range map[time.Duration]Action{
		0: Slew, 499 * time.Millisecond: Slew, -499 * time.Millisecond: Slew,
		500 * time.Millisecond: Step, -time.Minute: Step,
		10 * time.Minute: StepAndRestart, -100 * time.Hour: StepAndRestart,
	} {
		if got := Adjust(offset); got != want {
			t.Errorf("Adjust(%v) = %v, want %v", offset, got, want)
		}
	}
}
