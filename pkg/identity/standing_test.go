package identity

import (
	"errors"
	"testing"
	"time"
)

func TestStanding(t *testing.T) {
	n := newNetwork(t, "a")
	d, c := n.delegation(), n.certificate("node-1")
	credential := n.credential(d, c)
	examine := func(want error) {
		t.Helper()
		gotD, gotC, standing, err := n.v.Examine(credential)
		if err != nil || gotD.Issuer != d.Issuer || gotC.Key != c.Key || gotC.Serial != 100 || !errors.Is(standing, want) {
			t.Errorf("%+v, %+v, standing %v, %v", gotD, gotC, standing, err)
		}
	}
	examine(nil)
	noErr(t, n.v.Standing(&d, &c))
	if !n.v.Now().Equal(t0) {
		t.Errorf("the time is %s", n.v.Now())
	}

	early := c
	early.NotBefore = t0.Add(time.Hour)
	wantErr(t, n.v.Standing(&d, &early), ErrNotYetValid)
	n.now = t0.Add(day)
	wantErr(t, n.v.Standing(&d, &c), ErrExpired)
	examine(ErrExpired)
	n.now = t0
	list := sign(t, n.issuer, Revocation{
		Network: n.id, Signer: n.issuer.Public(), Version: 1, Issued: t0,
		Serials: []uint64{c.Serial}, Delegation: sign(t, n.root, d),
	})
	noErr(t, n.v.AddRevocation(list))
	wantErr(t, n.v.Standing(&d, &c), ErrRevoked)
	examine(ErrRevoked)
	c.Serial++
	noErr(t, n.v.Standing(&d, &c))
	noErr(t, n.v.AddRotation(n.rotate(1, n.root, testKey("next"), time.Hour)))
	noErr(t, n.v.Standing(&d, &c))
	n.now = t0.Add(2 * time.Hour)
	wantErr(t, n.v.Standing(&d, &c), ErrRetiredRoot)
	_, _, _, err := n.v.Examine(credential)
	wantErr(t, err, ErrRetiredRoot)
	_, _, _, err = n.v.Examine(credential[1:])
	wantErr(t, err, ErrMalformed)
}
