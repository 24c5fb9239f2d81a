// Prog is a program with one module inside, for the test to find.
package main

import "golang.org/x/mod/semver"

func main() { println(semver.Canonical("v1.2")) }
