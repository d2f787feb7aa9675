/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Where an encapsulated packet goes: the kernel's routes say. Knows no tunnels.
 */
#ifndef SIXWAY_SEND_H
#define SIXWAY_SEND_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "counting.h"

#define ADDRESS_FAMILY_IPV4 2
#define ADDRESS_FAMILY_IPV6 10

/* What the routes said last on this CPU. */
struct next_hop {
	__u32 tick; /* when they said so; never used in another tick */
	__be32 destination;
	__u8 to[ETH_ALEN];
	__u8 from[ETH_ALEN];
};

/* Packets come in trains, and a client has one server: for the same destination the kernel is not asked
 * again within a tick (0.13 s). The kernel does likewise for a train that it forwards (its route hint). */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct next_hop);
} next_hops SEC(".maps");

/*
 * Where what has its outer header `ip` is to go by the uplink. The routes are asked for as for a packet
 * that came in by `asking_ifindex`, for which IPv4 forwarding has been switched on to this end
 * (answerRoutesFor() in network4.ts); that costs half of what the kernel takes to make a route of its
 * own. 0: they do not say at once (a neighbour that must be asked for, another interface).
 */
static __always_inline const struct next_hop *find_next_hop(struct __sk_buff *skb,
							    const struct iphdr *ip,
							    __u32 uplink_ifindex,
							    __u32 asking_ifindex, __u32 flags)
{
	struct bpf_fib_lookup way = {};
	__u32 key = 0, tick = now_ticks();
	__be32 destination = ip->daddr;
	struct next_hop *known = bpf_map_lookup_elem(&next_hops, &key);

	if (!known || (known->destination == destination && known->tick == tick))
		return known;
	way.family = ADDRESS_FAMILY_IPV4;
	way.l4_protocol = ip->protocol;
	way.ifindex = asking_ifindex;
	way.ipv4_src = ip->saddr;
	way.ipv4_dst = destination;
	if (bpf_fib_lookup(skb, &way, sizeof(way), flags) != BPF_FIB_LKUP_RET_SUCCESS ||
	    way.ifindex != uplink_ifindex)
		return 0;
	known->tick = tick;
	known->destination = destination;
	__builtin_memcpy(known->to, way.dmac, ETH_ALEN);
	__builtin_memcpy(known->from, way.smac, ETH_ALEN);
	return known;
}

/*
 * Sends by the uplink what has its outer IPv4 header behind room for a link layer; what the routes do not
 * say at once is left to bpf_redirect_neigh(). Returns the verdict.
 */
static __always_inline int send_ipv4(struct __sk_buff *skb, __u32 uplink_ifindex,
				     __u32 uplink_header_length, __u32 asking_ifindex, __u32 flags)
{
	struct ethhdr *ethernet = (struct ethhdr *)(long)skb->data;
	const struct iphdr *ip = (struct iphdr *)(ethernet + 1);
	const struct next_hop *next;

	if ((__u8 *)(ip + 1) > (__u8 *)(long)skb->data_end || uplink_header_length != ETH_HLEN)
		return bpf_redirect_neigh(uplink_ifindex, 0, 0, 0);
	next = find_next_hop(skb, ip, uplink_ifindex, asking_ifindex, flags);
	if (!next)
		return bpf_redirect_neigh(uplink_ifindex, 0, 0, 0);
	__builtin_memcpy(ethernet->h_dest, next->to, ETH_ALEN);
	__builtin_memcpy(ethernet->h_source, next->from, ETH_ALEN);
	ethernet->h_proto = bpf_htons(ETH_P_IP);
	return bpf_redirect(uplink_ifindex, 0);
}

#endif
