// Package secureboot makes the keys of UEFI Secure Boot, signs EFI programs with them,
// and tells whether a machine's firmware would start one.
//
// A firmware with Secure Boot on starts programs alone that somebody has signed whose
// certificate is in its variable db. Who may change db is in the variable KEK, and who
// may change that, in PK. A firmware without a PK is in setup mode: it takes all three
// as they come, and is on from then on. Three keys are made once, the firmware learns
// their certificates, and what is built afterwards is signed with the one of db:
//
//	keys, _ := secureboot.Generate("Home", time.Now())
//	keys.Save("keys")                          // PK, KEK, db: private keys, certificates, updates
//	db, _ := secureboot.LoadSigner("keys", secureboot.DB)
//	signed, _ := secureboot.Sign(program, db)  // the same bytes every time
//
// The signature is Authenticode's (Windows Authenticode Portable Executable Signature
// Format, 2008; UEFI Specification 2.10, 32.2): PKCS #7 over the SHA-256 of the program
// without its checksum and its signatures, by RSA, without a time. What is read may come
// from anywhere: it is bounded, and wrong input is an error.
package secureboot
