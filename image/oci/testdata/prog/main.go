// Prog does nothing.
package main

func main() {}
