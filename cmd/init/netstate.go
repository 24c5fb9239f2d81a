package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// networkState describes what ip(8) shows: links, addresses, routes of all tables
// and neighbours.
func networkState() (string, error) {
	var b strings.Builder
	links, err := netlink.LinkList()
	if err != nil {
		return "", fmt.Errorf("list the links: %w", err)
	}
	names := map[int]string{}
	name := func(index int) string {
		if n, ok := names[index]; ok {
			return n
		}
		return strconv.Itoa(index)
	}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	for _, l := range links {
		a := l.Attrs()
		fmt.Fprintf(&b, "link %s index %d type %s state %s flags %s mtu %d address %s", a.Name, a.Index, l.Type(), a.OperState, a.Flags, a.MTU, a.HardwareAddr)
		if a.MasterIndex != 0 {
			fmt.Fprintf(&b, " master %s", name(a.MasterIndex))
		}
		if s := a.Statistics; s != nil {
			fmt.Fprintf(&b, " received %d packets %d errors %d dropped, sent %d packets %d errors %d dropped", s.RxPackets, s.RxErrors, s.RxDropped, s.TxPackets, s.TxErrors, s.TxDropped)
		}
		fmt.Fprintln(&b)
	}
	err = errors.Join(addressState(&b, name), routeState(&b, name), neighbourState(&b, name))
	return b.String(), err
}

func addressState(b *strings.Builder, name func(int) string) error {
	addresses, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("list the addresses: %w", err)
	}
	for _, a := range addresses {
		fmt.Fprintf(b, "address %s dev %s scope %s flags %#x\n", a.IPNet, name(a.LinkIndex), netlink.Scope(a.Scope), a.Flags)
	}
	return nil
}

func routeState(b *strings.Builder, name func(int) string) error {
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return fmt.Errorf("list the routes: %w", err)
	}
	for _, r := range routes {
		fmt.Fprintf(b, "route %v dev %s via %v src %v metric %d table %d type %d\n", r.Dst, name(r.LinkIndex), r.Gw, r.Src, r.Priority, r.Table, r.Type)
	}
	return nil
}

func neighbourState(b *strings.Builder, name func(int) string) error {
	neighbours, err := netlink.NeighList(0, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("list the neighbours: %w", err)
	}
	for _, n := range neighbours {
		fmt.Fprintf(b, "neighbour %s dev %s address %s state %#x\n", n.IP, name(n.LinkIndex), n.HardwareAddr, n.State)
	}
	return nil
}
