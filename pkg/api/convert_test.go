package api

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"

	machinev1 "github.com/digital-mycelium/os/pkg/api/machine/v1"
	"github.com/digital-mycelium/os/pkg/config"
)

// fill gives every field of v a value of its own.
func fill(t *testing.T, v reflect.Value, n *int) {
	t.Helper()
	*n++
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("s%d", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(*n) % 256)
	case reflect.Float64:
		v.SetFloat(float64(*n) + 0.5)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(t, v.Index(i), n)
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(t, v.Index(i), n)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(t0.Add(time.Duration(*n) * time.Millisecond)))
			return
		}
		for i := range v.NumField() {
			fill(t, v.Field(i), n)
		}
	default:
		t.Fatalf("fill does not know %s", v.Type())
	}
}

// roundTrip sends a value of type T, all of whose fields are set, and the zero
// one over the wire and back.
func roundTrip[T any, M proto.Message](t *testing.T, to func(T) M, from func(M) T) {
	t.Helper()
	var full, zero T
	n := 0
	fill(t, reflect.ValueOf(&full).Elem(), &n)
	for _, in := range []T{full, zero} {
		b, err := proto.Marshal(to(in))
		noErr(t, err)
		m := to(zero).ProtoReflect().New().Interface().(M)
		noErr(t, proto.Unmarshal(b, m))
		if out := from(m); !reflect.DeepEqual(out, in) {
			t.Errorf("%T went out as\n%+v\nand came back as\n%+v", in, in, out)
		}
	}
}

func TestConversions(t *testing.T) {
	roundTrip(t, statusToWire, statusFromWire)
	roundTrip(t, availableToWire, availableFromWire)
	roundTrip(t, peerToWire, peerFromWire)
	roundTrip(t, eventToWire, eventFromWire)
	roundTrip(t, processToWire, processFromWire)
	roundTrip(t, timeToWire, timeFromWire)
	roundTrip(t, changeToWire, changeFromWire)
	roundTrip(t, recordToWire, recordFromWire)
	roundTrip(t, grantToWire, func(m *machinev1.EnrolRequest) Grant { g, err := grantFromWire(m); noErr(t, err); return g })
	roundTrip(t, func(k Knowledge) *machinev1.ExchangeRequest {
		return &machinev1.ExchangeRequest{Members: each(k.Members, recordToWire), Rotations: k.Statements.Rotations, Revocations: k.Statements.Revocations}
	}, func(m *machinev1.ExchangeRequest) Knowledge { return knowledgeFromWire(m) })
	roundTrip(t, func(c config.Change) *machinev1.ConfigurationChange { return changeToWire(c) }, changeFromWire)
}

func TestScopes(t *testing.T) {
	for _, s := range []ResetScope{ResetData, ResetAll} {
		w, err := scopeToWire(s)
		noErr(t, err)
		if back, err := scopeFromWire(w); err != nil || back != s {
			t.Errorf("%s came back as %s, %v", s, back, err)
		}
	}
	for _, w := range []machinev1.ResetScope{0, 3, -1} {
		_, err := scopeFromWire(w)
		wantErr(t, err, ErrInvalid)
	}
}

// Neither an issuer's key nor a cluster's token shows, however it is printed.
func TestSecretsStaySecret(t *testing.T) {
	const canary = "canary-4711-canary-4711-canary-4"
	issuer := IssuerGrant{Key: []byte(canary), Delegation: []byte("d")}
	join := ClusterJoin{Server: "https://x", Token: canary}
	var out bytes.Buffer
	for _, v := range []any{issuer, &issuer, Grant{Issuer: &issuer}, &Grant{Issuer: &issuer}, join, &join, []ClusterJoin{join}, map[string]IssuerGrant{"a": issuer}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
		for _, marshal := range []func(any) ([]byte, error){json.Marshal, yaml.Marshal, xml.Marshal, func(v any) ([]byte, error) {
			var b bytes.Buffer
			err := gob.NewEncoder(&b).Encode(v)
			return b.Bytes(), err
		}} {
			b, _ := marshal(v) // some cannot encode some: no matter
			out.Write(b)
		}
	}
	shown := out.String()
	for _, form := range []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), strings.Trim(fmt.Sprintf("%d", []byte(canary)), "[]"), "Y2FuYXJ5LTQ3MTEt"} {
		if strings.Contains(shown, form) {
			t.Errorf("%q shows", form)
		}
	}
	if !strings.Contains(shown, redacted) {
		t.Error("nothing shows at all")
	}
}
