/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * IPv4 over IPv6 (RFC 2473), the server's side of it: what becomes of a packet. As in tunnel.bpf.c the
 * inner address names the tunnel and the outer address proves it; the outcomes are the same.
 */
#ifndef SIXWAY_V4V6_H
#define SIXWAY_V4V6_H

#include "counting.h"
#include "decap6.h"
#include "encap6.h"
#include "faults.h"
#include "icmp4.h"
#include "limits.h"
#include "lookup.h"
#include "tcp.h"

#define RATE_KEY_V4V6 (1u << RATE_KEY_V4V6_SHIFT)

/* The client's address, read whole. 0: detached, or being changed at this moment. */
static __always_inline int read_client(struct tunnel_v4v6 *tunnel, struct address6 *client)
{
	/* Adding nothing is a load that nothing is moved across. */
	__u32 version = __sync_fetch_and_add(&tunnel->version, 0);

	if (!version)
		return 0;
	client->high = *(volatile __u64 *)&tunnel->client_high;
	client->low = *(volatile __u64 *)&tunnel->client_low;
	return __sync_fetch_and_add(&tunnel->version, 0) == version;
}

static __always_inline void count_in4(struct __sk_buff *skb, struct tunnel_v4v6 *tunnel, __u32 length)
{
	__sync_fetch_and_add(&tunnel->in_packets, packets_in(skb));
	__sync_fetch_and_add(&tunnel->in_bytes, length);
	tunnel->in_last_seen = now_ticks();
}

static __always_inline void count_out4(struct __sk_buff *skb, struct tunnel_v4v6 *tunnel,
				       __u32 length)
{
	__sync_fetch_and_add(&tunnel->out_packets, packets_in(skb));
	__sync_fetch_and_add(&tunnel->out_bytes, length);
	tunnel->out_last_seen = now_ticks();
}

static __always_inline int from_ipv6(struct __sk_buff *skb, const struct config *settings,
				     struct subject *subject)
{
	struct address6 local = { settings->local6_high, settings->local6_low }, client;
	__u32 link_length = settings->uplink6_header_length, from, to, length, at, payload;
	struct outer6 outer = {};
	struct tunnel_v4v6 *tunnel;
	struct link4 link = {};
	int result, is_later, seen = 0;

	if (!local.high && !local.low)
		return OUTCOME_IN_NOT_OURS;
	result = read_outer6(skb, link_length, &local, settings->local_port, 0,
			     settings->hash_multiplier, &outer);
	if (result == OUTCOME_IN_SIGNALLING)
		return limit_signalling(settings, outer.source.high, IPV6_PREFIX_SHIFT,
					packets_in(skb));
	if (result != PARSED_IPV4)
		return result;

	from = bpf_ntohl(outer.inner->saddr);
	to = bpf_ntohl(outer.inner->daddr);
	if (is_link_local4(from) || is_link_local4(to))
		return OUTCOME_IN_LINK_LOCAL;
	if (is_multicast4(to))
		return OUTCOME_IN_MULTICAST;
	if (!find_link4(settings, from, &link))
		return OUTCOME_IN_OUTSIDE_POOLS;
	tunnel = bpf_map_lookup_elem(&tunnels_v4v6, &link.slot);
	if (!tunnel)
		return OUTCOME_IN_DETACHED;
	concern(subject, SUBJECT_TUNNEL_V4V6, link.slot, tunnel->flags);
	if (tunnel->flags & TUNNEL_DISABLED)
		return OUTCOME_IN_DISABLED;
	if (!read_client(tunnel, &client))
		return OUTCOME_IN_DETACHED;
	if (client.high != outer.source.high || client.low != outer.source.low)
		return OUTCOME_IN_WRONG_ENDPOINT;
	if (link.is_gateway)
		return OUTCOME_IN_GATEWAY_SOURCE;
	if (!link.is_client)
		return OUTCOME_IN_WRONG_INTERFACE_ID;

	length = bpf_ntohs(outer.inner->tot_len);
	at = link_length + outer.header_length;
	payload = at + outer.inner->ihl * 4;
	/* Later fragments carry no ports. */
	is_later = (outer.inner->frag_off & bpf_htons(FRAGMENT_OFFSET)) != 0;
	if (outer.inner->protocol == PROTOCOL_TCP && !is_later) {
		seen = outer.inner->ihl == IPV4_HEADER / 4 ?
			       see_tcp(skb, settings, (__u8 *)outer.inner + IPV4_HEADER, payload,
				       at + length, PROTOCOL_TCP) :
			       see_behind_headers(skb, settings, payload, at + length, PROTOCOL_TCP);
		if (seen & (SEEN_CLOSED_PORT | SEEN_UNCLEAR) && !(tunnel->flags & TUNNEL_UNFILTERED))
			return OUTCOME_IN_FILTERED;
	}
	if (tunnel->flags & TUNNEL_LIMITED &&
	    !afford_octets(link.slot | RATE_KEY_V4V6, length, 0))
		return OUTCOME_IN_RATE_LIMITED;
	if (to == link.gateway) {
		if (!answer_echo4(skb, link_length, &outer))
			return OUTCOME_IN_TO_GATEWAY;
		count_in4(skb, tunnel, length);
		count_out4(skb, tunnel, length);
		return OUTCOME_IN_ECHO_ANSWERED;
	}
	if (to == settings->local_address && !is_later &&
	    carries_signalling(skb, payload, outer.inner->protocol,
			       outer.inner->frag_off & bpf_htons(FRAGMENT_MASK),
			       settings->local_port)) {
		result = limit_signalling(settings, outer.source.high, IPV6_PREFIX_SHIFT,
					  packets_in(skb));
		if (result != OUTCOME_IN_SIGNALLING)
			return result;
	}
	count_in4(skb, tunnel, length);
	result = strip_outer6(skb, link_length, &outer, OUTCOME_IN_DECAPSULATED);
	if (seen & SEEN_SYN && result == OUTCOME_IN_DECAPSULATED)
		clamp_mss(skb, payload - outer.header_length,
			  largest_packet(settings, tunnel->mtu) - IPV4_HEADER - TCP_HEADER);
	return result;
}

/* As length_on_wire(), of an IPv4 packet. */
static __always_inline __u32 length_on_wire4(struct __sk_buff *skb, __u32 link_length, const __u8 *at)
{
	const struct iphdr *ip = (const struct iphdr *)at;
	const __u8 *tcp = at + IPV4_HEADER;

	if (!skb->gso_size)
		return skb->len - link_length;
	if (ip->protocol != PROTOCOL_TCP || ip->ihl != IPV4_HEADER / 4 ||
	    tcp + TCP_DATA_OFFSET + 1 > (const __u8 *)(long)skb->data_end)
		return IPV4_HEADER + UDP_HEADER + skb->gso_size;
	return IPV4_HEADER + (tcp[TCP_DATA_OFFSET] >> 4) * 4 + skb->gso_size;
}

/* As refuse(), of an IPv4 packet about which an error may be sent. */
SUBPROGRAM int refuse4(struct __sk_buff *skb, const struct config *settings, __u32 gateway,
		       int outcome)
{
	__u32 code = outcome == OUTCOME_OUT_UNDELEGATED ? ICMP_CODE_NET :
		     outcome == OUTCOME_OUT_DISABLED	? ICMP_CODE_PROHIBITED :
							  ICMP_CODE_HOST;

	if (!settings || !afford_error(settings))
		return outcome;
	return become_unreachable4(skb, settings->tunnel_header_length, gateway, code, 0) ?
		       outcome :
		       told(outcome);
}

static __always_inline int to_ipv6(struct __sk_buff *skb, const struct config *settings,
				   struct subject *subject)
{
	struct address6 local = { settings->local6_high, settings->local6_low }, client;
	__u32 link_length = settings->tunnel_header_length, to, length;
	struct tunnel_v4v6 *tunnel;
	struct link4 link = {};
	struct iphdr *ip;
	__u8 *at, tos;
	__u8 now;
	int result;

	at = (__u8 *)(long)skb->data + link_length;
	if (at + IPV4_HEADER > (__u8 *)(long)skb->data_end) {
		if (skb->len < link_length + IPV4_HEADER ||
		    bpf_skb_pull_data(skb, link_length + IPV4_HEADER))
			return OUTCOME_OUT_NOT_UNICAST;
		at = (__u8 *)(long)skb->data + link_length;
		if (at + IPV4_HEADER > (__u8 *)(long)skb->data_end)
			return OUTCOME_OUT_NOT_UNICAST;
	}
	to = bpf_ntohl(((struct iphdr *)at)->daddr);
	if (at[0] >> 4 != 4 || is_multicast4(to) || is_link_local4(to))
		return OUTCOME_OUT_NOT_UNICAST;
	tos = at[1];

	if (!find_link4(settings, to, &link))
		return OUTCOME_OUT_OUTSIDE_POOLS;
	tunnel = bpf_map_lookup_elem(&tunnels_v4v6, &link.slot);
	if (!tunnel)
		return OUTCOME_OUT_DETACHED;
	concern(subject, SUBJECT_TUNNEL_V4V6, link.slot, tunnel->flags);
	if ((tunnel->flags & (TUNNEL_ASSIGNED | TUNNEL_DISABLED)) != TUNNEL_ASSIGNED ||
	    !read_client(tunnel, &client)) {
		result = closed_as(tunnel->flags);
		return may_be_told(at, (__u8 *)(long)skb->data_end) ?
			       refuse4(skb, settings, link.gateway, result) :
			       result;
	}
	if (link.is_gateway)
		return OUTCOME_OUT_TO_GATEWAY;
	if (!link.is_client)
		return OUTCOME_OUT_WRONG_INTERFACE_ID;

	if (tunnel->mtu && length_on_wire4(skb, link_length, at) > tunnel->mtu) {
		now = now_ticks();
		if (tunnel->last_too_big == now ||
		    !may_be_told(at, (__u8 *)(long)skb->data_end))
			return OUTCOME_OUT_TOO_BIG_QUIET;
		tunnel->last_too_big = now;
		return become_unreachable4(skb, link_length, link.gateway, ICMP_CODE_TOO_BIG,
					   tunnel->mtu) ?
			       OUTCOME_OUT_PUSH_FAILED :
			       OUTCOME_OUT_TOO_BIG;
	}

	length = skb->len - link_length;
	ip = (struct iphdr *)at;
	/* Later fragments have no TCP header. */
	if (ip->protocol == PROTOCOL_TCP && !(ip->frag_off & bpf_htons(FRAGMENT_OFFSET)) &&
	    (ip->ihl != IPV4_HEADER / 4 || may_be_syn(at + IPV4_HEADER, (__u8 *)(long)skb->data_end)))
		clamp_mss(skb, link_length + ip->ihl * 4,
			  largest_packet(settings, tunnel->mtu) - IPV4_HEADER - TCP_HEADER);
	result = push_outer6(skb, link_length, &local, &client, tos, OUTCOME_OUT_ENCAPSULATED);
	if (result != OUTCOME_OUT_ENCAPSULATED)
		return result;
	if (tunnel->flags & TUNNEL_LIMITED && !afford_octets(link.slot | RATE_KEY_V4V6, length, 1))
		return OUTCOME_OUT_RATE_LIMITED;
	count_out4(skb, tunnel, length);
	return result;
}

#endif
