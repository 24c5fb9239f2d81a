package identity

import "fmt"

// credential is what a member shows to others. With the network's id alone it
// can be verified: the rotations lead from the first root key to the one that
// signed the delegation.
type credential struct {
	_           struct{} `cbor:",toarray"`
	Rotations   [][]byte
	Delegation  []byte
	Certificate []byte
}

// parts is a credential, parsed: every signature in it is good, but nothing is
// said yet about who may sign what.
type parts struct {
	rotations []rotation
	del       *Delegation
	cert      *Certificate
}

// rotation is a Rotation with its encoding.
type rotation struct {
	*Rotation
	raw []byte
}

// ParseCredential returns what a credential says, with good signatures. Whether
// it counts only Verifier.Verify can say.
func ParseCredential(data []byte) (*Delegation, *Certificate, error) {
	p, err := parseCredential(data)
	if err != nil {
		return nil, nil, err
	}
	return p.del, p.cert, nil
}

func parseCredential(data []byte) (*parts, error) {
	var c credential
	if err := decode(data, maxCredential, &c); err != nil {
		return nil, fmt.Errorf("read the credential: %w", err)
	}
	rotations, err := parseRotations(c.Rotations)
	if err != nil {
		return nil, err
	}
	del, err := Parse[Delegation](c.Delegation)
	if err != nil {
		return nil, err
	}
	cert, err := Parse[Certificate](c.Certificate)
	if err != nil {
		return nil, err
	}
	if cert.Issuer != del.Issuer || cert.Network != del.Network {
		return nil, fmt.Errorf("read the credential: %w: its delegation is not for the issuer of its certificate", ErrSignature)
	}
	return &parts{rotations, del, cert}, nil
}

func parseRotations(raw [][]byte) ([]rotation, error) {
	if len(raw) > maxRotations {
		return nil, fmt.Errorf("read the root rotations: %w: %d, at most %d are allowed", ErrMalformed, len(raw), maxRotations)
	}
	var rs []rotation
	for _, data := range raw {
		r, err := Parse[Rotation](data)
		if err != nil {
			return nil, err
		}
		rs = append(rs, rotation{r, data})
	}
	return rs, nil
}

// checkLimits says whether the certificate is one that its issuer may make.
func (p *parts) checkLimits() error {
	c, d := p.cert, p.del
	switch {
	case !c.Caps.Within(d.Caps):
		return fmt.Errorf("%w: certificate %d of %s allows %s, its issuer may grant %s", ErrDelegation, c.Serial, c.Name, c.Caps, d.Caps)
	case c.NotAfter.Sub(c.NotBefore) > d.MaxValidity:
		return fmt.Errorf("%w: certificate %d of %s is for %v, its issuer may give %v", ErrDelegation, c.Serial, c.Name, c.NotAfter.Sub(c.NotBefore), d.MaxValidity)
	case c.Serial < d.FirstSerial || c.Serial-d.FirstSerial >= d.Count:
		return fmt.Errorf("%w: certificate of %s has serial number %d, its issuer has %d to %d", ErrDelegation, c.Name, c.Serial, d.FirstSerial, d.FirstSerial+d.Count-1)
	case c.NotBefore.Before(d.NotBefore) || c.NotAfter.After(d.NotAfter):
		return fmt.Errorf("%w: certificate %d of %s is valid outside its issuer's time, %s to %s", ErrDelegation, c.Serial, c.Name, utc(d.NotBefore), utc(d.NotAfter))
	}
	return nil
}
