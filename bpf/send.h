/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Where an encapsulated packet goes: the kernel's routes say. Knows no maps and no tunnels.
 */
#ifndef SIXWAY_SEND_H
#define SIXWAY_SEND_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define ADDRESS_FAMILY_IPV4 2
#define ADDRESS_FAMILY_IPV6 10

/*
 * Sends what has its outer IPv4 header, behind room for a link layer, by the uplink. The routes are asked
 * for as for a packet that came in by `asking_ifindex`, for which IPv4 forwarding has been switched on to
 * this end (answerRoutesFor() in network4.ts); that costs half of what the kernel takes to make a route
 * of its own. Whatever they do not say at once (a neighbour that must be asked for, another interface, a
 * link layer that is not Ethernet's) is left to bpf_redirect_neigh(). Returns the verdict.
 */
static __always_inline int send_ipv4(struct __sk_buff *skb, __u32 uplink_ifindex,
				     __u32 uplink_header_length, __u32 asking_ifindex, __u32 flags)
{
	__u8 *data = (__u8 *)(long)skb->data;
	struct ethhdr *ethernet = (struct ethhdr *)data;
	struct iphdr *ip = (struct iphdr *)(ethernet + 1);
	struct bpf_fib_lookup way = {};

	if ((__u8 *)(ip + 1) > (__u8 *)(long)skb->data_end || uplink_header_length != ETH_HLEN)
		return bpf_redirect_neigh(uplink_ifindex, 0, 0, 0);
	way.family = ADDRESS_FAMILY_IPV4;
	way.l4_protocol = ip->protocol;
	way.ifindex = asking_ifindex;
	way.ipv4_src = ip->saddr;
	way.ipv4_dst = ip->daddr;
	if (bpf_fib_lookup(skb, &way, sizeof(way), flags) != BPF_FIB_LKUP_RET_SUCCESS ||
	    way.ifindex != uplink_ifindex)
		return bpf_redirect_neigh(uplink_ifindex, 0, 0, 0);
	__builtin_memcpy(ethernet->h_dest, way.dmac, ETH_ALEN);
	__builtin_memcpy(ethernet->h_source, way.smac, ETH_ALEN);
	ethernet->h_proto = bpf_htons(ETH_P_IP);
	return bpf_redirect(uplink_ifindex, 0);
}

#endif
