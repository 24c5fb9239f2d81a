#!/bin/sh
# Answers the benchmark on the second serial port, one command a line. It waits
# in a read, so that it costs the machine next to nothing.
tty=/dev/ttyS1
stty -F "$tty" raw -echo
exec <"$tty" >"$tty"
while read -r command; do
	echo "begin $command"
	case "$command" in
	kubeconfig) cat /etc/rancher/k3s/k3s.yaml 2>/dev/null ;;
	meminfo) cat /proc/meminfo ;;
	used) df -B1 --output=used / | tail -n 1 ;;
	du) du -xk -d 4 / 2>/dev/null | sort -rn | head -n 60 ;;
	processes) grep -hE '^(Name|Rss[A-Za-z]*):' /proc/[0-9]*/status 2>/dev/null ;;
	blame) systemd-analyze blame --no-pager 2>/dev/null | head -n 25 ;;
	kernel) dmesg ;;
	k3s) journalctl -u k3s -o short-monotonic --no-pager ;;
	sync) sync ;;
	esac
	echo "end $command"
done
