/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The client's programs: one tunnel, the same headers on the wire. client_ingress hands what the
 * server sent to the tunnel device; client_egress sends what the kernel routed to that device; each of
 * them also for IPv4 over IPv6. Which inner addresses may be used is the kernel's own routing and
 * firewall to say.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* All fragments are from one server. */
#define ASSEMBLIES_BITS 6

#include "counting.h"
#include "decap6.h"
#include "encap6.h"
#include "send.h"

/* Entry 0. User space writes addresses before attaching, and reads the counters; the kernel writes
 * counters. Mappable, so that the client sees whether the tunnel lives without a system call. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct client);
} client SEC(".maps");

/* Of Fibonacci hashing (Knuth). */
#define HASH_MULTIPLIER 0x9e3779b97f4a7c15ull

static __always_inline struct client *this_client(void)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&client, &key);
}

static __always_inline int drop(struct client *self)
{
	__sync_fetch_and_add(&self->dropped_packets, 1);
	return TC_ACT_SHOT;
}

SEC("tc")
int client_ingress(struct __sk_buff *skb)
{
	struct client *self = this_client();
	struct outer outer = {};
	__u32 link_length, length;
	__u64 to_high;
	int result;

	if (!self)
		return TC_ACT_OK;
	link_length = self->uplink_header_length;
	result = read_outer(skb, link_length, self->local_address, self->local_port,
			    (__u32)self->server, HASH_MULTIPLIER, &outer);
	if (result == OUTCOME_IN_NOT_OURS || result == OUTCOME_IN_SIGNALLING)
		return TC_ACT_OK;
	if (result == OUTCOME_IN_FRAGMENT)
		return TC_ACT_SHOT; /* but kept: nothing is lost yet */
	if (result != PARSED_IPV6)
		return drop(self);
	if (outer.endpoint != self->server) {
		/* Protocol 41 from elsewhere is another tunnel's; our UDP port is ours alone. */
		return outer.endpoint >> ENDPOINT_ENCAPSULATION_SHIFT == ENCAPSULATION_V6V4 ? TC_ACT_OK :
											       drop(self);
	}
	if (check_inner_length(skb, &outer) != PARSED_IPV6)
		return drop(self);
	to_high = high_half(&outer.inner->daddr);
	if (is_multicast(to_high) || is_link_local(to_high))
		return drop(self);

	length = IPV6_HEADER + bpf_ntohs(outer.inner->payload_len);
	if (strip_outer(skb, link_length, &outer, OUTCOME_IN_DECAPSULATED) != OUTCOME_IN_DECAPSULATED)
		return drop(self);
	__sync_fetch_and_add(&self->in_packets, packets_in(skb));
	__sync_fetch_and_add(&self->in_bytes, length);
	self->in_last_seen = now_ticks();
	return bpf_redirect(self->tunnel_ifindex, BPF_F_INGRESS);
}

SEC("tc")
int client_egress(struct __sk_buff *skb)
{
	struct client *self = this_client();
	__u32 link_length, length;
	struct ipv6hdr *inner;
	__u64 to_high;
	__u8 *at;

	if (!self)
		return TC_ACT_SHOT;
	link_length = self->tunnel_header_length;
	at = (__u8 *)(long)skb->data + link_length;
	if (at + IPV6_HEADER > (__u8 *)(long)skb->data_end) {
		if (skb->len < link_length + IPV6_HEADER ||
		    bpf_skb_pull_data(skb, link_length + IPV6_HEADER))
			return drop(self);
		at = (__u8 *)(long)skb->data + link_length;
		if (at + IPV6_HEADER > (__u8 *)(long)skb->data_end)
			return drop(self);
	}
	inner = (struct ipv6hdr *)at;
	to_high = high_half(&inner->daddr);
	/* Router solicitations and their like have nobody to reach. */
	if (at[0] >> 4 != 6 || is_multicast(to_high) || is_link_local(to_high))
		return drop(self);

	length = skb->len - link_length;
	if (push_outer(skb, link_length, self->local_address, self->local_port, self->server, at[1],
		       OUTCOME_OUT_ENCAPSULATED) != OUTCOME_OUT_ENCAPSULATED)
		return drop(self);
	__sync_fetch_and_add(&self->out_packets, packets_in(skb));
	__sync_fetch_and_add(&self->out_bytes, length);
	return send_ipv4(skb, self->uplink_ifindex, self->uplink_header_length, self->tunnel_ifindex,
			 self->route_flags);
}

SEC("tc")
int client_ingress_v4v6(struct __sk_buff *skb)
{
	struct client *self = this_client();
	struct address6 local, server;
	struct outer6 outer = {};
	__u32 link_length, length;
	int result;

	if (!self)
		return TC_ACT_OK;
	link_length = self->uplink_header_length;
	local.high = self->local6_high;
	local.low = self->local6_low;
	server.high = self->server6_high;
	server.low = self->server6_low;
	result = read_outer6(skb, link_length, &local, 0, &server, HASH_MULTIPLIER, &outer);
	if (result == OUTCOME_IN_NOT_OURS || result == OUTCOME_IN_SIGNALLING)
		return TC_ACT_OK;
	/* From elsewhere it is another tunnel's. */
	if (outer.source.high != server.high || outer.source.low != server.low)
		return TC_ACT_OK;
	if (result == OUTCOME_IN_FRAGMENT)
		return TC_ACT_SHOT;
	if (result != PARSED_IPV4 || is_multicast4(bpf_ntohl(outer.inner->daddr)) ||
	    is_link_local4(bpf_ntohl(outer.inner->daddr)))
		return drop(self);

	length = bpf_ntohs(outer.inner->tot_len);
	if (strip_outer6(skb, link_length, &outer, OUTCOME_IN_DECAPSULATED) != OUTCOME_IN_DECAPSULATED)
		return drop(self);
	__sync_fetch_and_add(&self->in_packets, packets_in(skb));
	__sync_fetch_and_add(&self->in_bytes, length);
	self->in_last_seen = now_ticks();
	return bpf_redirect(self->tunnel_ifindex, BPF_F_INGRESS);
}

SEC("tc")
int client_egress_v4v6(struct __sk_buff *skb)
{
	struct client *self = this_client();
	struct address6 local, server;
	__u32 link_length, length, to;
	__u8 *at;

	if (!self)
		return TC_ACT_SHOT;
	link_length = self->tunnel_header_length;
	at = (__u8 *)(long)skb->data + link_length;
	if (at + IPV4_HEADER > (__u8 *)(long)skb->data_end) {
		if (skb->len < link_length + IPV4_HEADER ||
		    bpf_skb_pull_data(skb, link_length + IPV4_HEADER))
			return drop(self);
		at = (__u8 *)(long)skb->data + link_length;
		if (at + IPV4_HEADER > (__u8 *)(long)skb->data_end)
			return drop(self);
	}
	to = bpf_ntohl(((struct iphdr *)at)->daddr);
	if (at[0] >> 4 != 4 || is_multicast4(to) || is_link_local4(to))
		return drop(self);

	length = skb->len - link_length;
	local.high = self->local6_high;
	local.low = self->local6_low;
	server.high = self->server6_high;
	server.low = self->server6_low;
	if (push_outer6(skb, link_length, &local, &server, at[1], OUTCOME_OUT_ENCAPSULATED) !=
	    OUTCOME_OUT_ENCAPSULATED)
		return drop(self);
	__sync_fetch_and_add(&self->out_packets, packets_in(skb));
	__sync_fetch_and_add(&self->out_bytes, length);
	return bpf_redirect_neigh(self->uplink_ifindex, 0, 0, 0);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
