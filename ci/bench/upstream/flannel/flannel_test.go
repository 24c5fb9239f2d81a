package flannel

import "testing"

func TestParseSubnet(t *testing.T) {
	const whole = "FLANNEL_NETWORK=10.42.0.0/16\nFLANNEL_SUBNET=10.42.0.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"
	s, err := parseSubnet(whole)
	if err != nil {
		t.Fatal(err)
	}
	if want := (subnet{"10.42.0.0/16", "10.42.0.0/24", 1450, true}); s != want {
		t.Errorf("got %+v, want %+v", s, want)
	}
	for _, text := range []string{"", "FLANNEL_NETWORK=10.42.0.0/16\n", "FLANNEL_MTU=x\n"} {
		if _, err := parseSubnet(text); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}
