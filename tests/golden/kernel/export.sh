#!/bin/sh
# Run it in a mount and network namespace of its own: unshare -mn sh THIS_FILE
set -e
mount -t tmpfs tmpfs /run
mkdir /run/bin
for tool in iptables ip6tables; do # a kernel without nftables needs the legacy backend
    $tool -t nat -N try 2>/dev/null && $tool -t nat -X try || ln -s "$(command -v $tool-legacy)" /run/bin/$tool
done
PATH=/run/bin:$PATH
ip netns add s
ip netns add node
ip netns add pod1
ip netns add pod2
ip -n s link set lo up
ip -n s link add name s type bridge vlan_filtering 1 vlan_default_pvid 0
ip -n s link set s up
ip -n node link set lo up
ip -n pod1 link set lo up
ip -n pod2 link set lo up
ip netns exec node sysctl -qw 'net/ipv4/ip_forward=1'
ip -n node link add name eth0 mtu 1500 type veth peer name node netns s
ip -n node link set eth0 up
ip -n s link set node master s up
ip -n node link add name tunl0 mtu 1480 type ipip 2>/dev/null || true
ip -n node link set tunl0 mtu 1480 up
ip -n node link add name gre1 type gre local 192.0.2.1 remote 192.0.2.2 ttl 64 key 7
ip -n node link set gre1 up
ip -n node link add name isatap1 type sit local 192.0.2.1 isatap
ip -n node link set isatap1 up
ip -n node link add name d0 type dummy
ip -n node link add name vx address 02:00:00:00:00:01 mtu 1450 type vxlan id 4 dev eth0 local 192.0.2.1 dstport 8472 nolearning
ip -n node link set vx up
ip -n node link add link eth0 name eth0.20 type vlan id 20
ip -n node link set eth0.20 up
ip -n node link add name vti1 type vti dev eth0 local 192.0.2.1 remote 192.0.2.2 key 9
ip -n node link set vti1 up
ip -n node link add link eth0 name newborn netns pod2 type ipvlan mode l3 bridge
ip -n pod2 link set newborn name eth0
ip -n pod2 link set eth0 up
ip -n pod2 link set eth0 arp off
ip -n node link add link eth0.20 name newborn netns pod1 type macvlan mode bridge
ip -n pod1 link set newborn name eth0
ip -n pod1 link set eth0 up

# s
bridge -n s vlan add dev node vid 10 pvid untagged

# node
ip -n node addr add 192.0.2.1/24 dev eth0
ip -n node addr add 2001:db8::1/64 dev vx nodad noprefixroute
ip netns exec node sysctl -qw 'net/ipv4/neigh/eth0.20/app_solicit=1'
ip -n node route replace blackhole 10.0.0.0/26 proto 80
ip -n node -6 route replace 2001:db8:1::/64 dev vx table 40000
ip -n node route replace 0.0.0.0/0 via 192.0.2.254 dev eth0
ip -n node route replace 10.1.0.0/26 via 192.0.2.2 dev tunl0 proto 80 onlink mtu 1480
ip -n node route replace 10.2.0.0/16 nexthop via 192.0.2.2 dev eth0 nexthop via 192.0.2.3 dev eth0 weight 2
ip -n node route replace 10.3.0.0/16 via inet6 fe80::1 dev eth0
ip -n node rule add pref 4 from 10.0.0.0/16 fwmark 0x0/0x4040 lookup 10000
ip -n node -6 rule add pref 5 from all to 2001:db8::9/128 iif vx lookup 254
ip -n node neigh replace proxy 10.0.0.9 dev vx
ip -n node neigh replace 10.1.0.0 lladdr 02:00:00:00:00:02 dev vx nud permanent
bridge -n node fdb append ff:ff:ff:ff:ff:f1 dev vx dst 192.0.2.2 self permanent
bridge -n node fdb replace 02:00:00:00:00:02 dev vx dst 192.0.2.2 self permanent
ip netns exec node ipset create ALL hash:net family inet
ip netns exec node ipset add ALL 10.0.0.0/16
ip netns exec node iptables -t nat -N own
ip netns exec node iptables -t nat -A POSTROUTING -j own
ip netns exec node iptables -t nat -A own -m comment --comment 'of ours' -j MASQUERADE
tc -n node qdisc add dev eth0 root handle 1: netem limit 10000 delay 5000us
tc -n node qdisc add dev eth0 parent 1: handle 2: tbf rate 10000000bit burst 12500 latency 50ms
tc -n node qdisc add dev vx root handle 1: prio
tc -n node filter add dev vx parent 1: protocol all prio 1 u32 match u8 0x01 0x01 at -14 action pedit munge offset -14 u16 set 0xffff munge offset -12 u32 set 0xfffffff1 pass

# pod1

# pod2
