/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The server's programs. tunnel_ingress takes tunnelled packets out of IPv4 and leaves them to the
 * kernel's IPv6 stack; tunnel_egress puts what the kernel routed to the tunnel device into IPv4. No
 * other device, no other table: the inner address names the tunnel, the outer address proves it. The
 * same programs do it the other way round for IPv4 over IPv6 (v4v6.h).
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "counting.h"
#include "lookup.h"
#include "decap.h"
#include "encap.h"
#include "faults.h"
#include "icmp.h"
#include "limits.h"
#include "relay.h"
#include "send.h"
#include "tcp.h"
#include "v4v6.h"
#include "xdp.h"

/* In every network namespace. */
#define LOOPBACK_IFINDEX 1

static __always_inline const struct config *settings_of_this_host(void)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&config, &key);
}

/* What keeps an address of the tunnel's link from being the client's; 0: it is the client's. */
static __always_inline int client_address_fault(const struct tunnel *tunnel, __u64 low, int gateway,
						int wrong)
{
	if (low == GATEWAY_INTERFACE_ID)
		return gateway;
	if (tunnel->interface_id && tunnel->interface_id != low)
		return wrong;
	return 0;
}

static __always_inline void count_in(struct __sk_buff *skb, struct tunnel *tunnel, __u32 length)
{
	__sync_fetch_and_add(&tunnel->in_packets, packets_in(skb));
	__sync_fetch_and_add(&tunnel->in_bytes, length);
	tunnel->in_last_seen = now_ticks();
}

static __always_inline void count_out(struct __sk_buff *skb, struct tunnel *tunnel, __u32 length)
{
	__sync_fetch_and_add(&tunnel->out_packets, packets_in(skb));
	__sync_fetch_and_add(&tunnel->out_bytes, length);
	tunnel->out_last_seen = now_ticks();
}

static __always_inline int from_ipv4(struct __sk_buff *skb, const struct config *settings,
				     struct subject *subject)
{
	__u32 link_length = settings->uplink_header_length, slot, other, length, payload;
	struct outer outer = {};
	struct tunnel *tunnel;
	__u64 high, low, to_high;
	enum found found;
	int result, seen = 0;
	__u8 protocol;

	result = read_outer(skb, link_length, settings->local_address, settings->local_port, 0,
			    settings->hash_multiplier, &outer);
	if (result == OUTCOME_IN_SIGNALLING)
		return limit_signalling(settings, outer.source, IPV4_PREFIX_SHIFT, packets_in(skb));
	if (result == OUTCOME_IN_NOT_OURS && outer.protocol == PROTOCOL_ICMP)
		return relay_error(skb, settings);
	if (result != PARSED_IPV6)
		return result;
	result = check_inner_length(skb, &outer);
	if (result != PARSED_IPV6)
		return result;

	high = high_half(&outer.inner->saddr);
	low = low_half(&outer.inner->saddr);
	to_high = high_half(&outer.inner->daddr);
	if (is_link_local(high) || is_link_local(to_high))
		return OUTCOME_IN_LINK_LOCAL;
	if (is_multicast(to_high))
		return OUTCOME_IN_MULTICAST;

	found = find_slot(settings, high, &slot);
	if (found == FOUND_OUTSIDE)
		return remember_stray(settings, outer.endpoint, high, low, OUTCOME_IN_OUTSIDE_POOLS);
	if (found == FOUND_UNDELEGATED)
		return remember_stray(settings, outer.endpoint, high, low, OUTCOME_IN_UNDELEGATED);
	tunnel = bpf_map_lookup_elem(&tunnels, &slot);
	if (!tunnel)
		return OUTCOME_IN_DETACHED;
	concern(subject, SUBJECT_TUNNEL, slot, tunnel->flags);
	if (tunnel->flags & TUNNEL_DISABLED)
		return OUTCOME_IN_DISABLED;
	if (tunnel->endpoint != outer.endpoint) {
		result = tunnel->endpoint ? OUTCOME_IN_WRONG_ENDPOINT : OUTCOME_IN_DETACHED;
		return remember_stray(settings, outer.endpoint, high, low, result);
	}
	if (found == FOUND_LINK) {
		result = client_address_fault(tunnel, low, OUTCOME_IN_GATEWAY_SOURCE,
					      OUTCOME_IN_WRONG_INTERFACE_ID);
		if (result)
			return result;
	}

	payload = link_length + outer.header_length + IPV6_HEADER;
	length = IPV6_HEADER + bpf_ntohs(outer.inner->payload_len);
	protocol = outer.inner->nexthdr;
	if (protocol != PROTOCOL_UDP && protocol != PROTOCOL_ICMPV6) {
		seen = see_tcp(skb, settings, (__u8 *)outer.inner + IPV6_HEADER, payload,
			       payload + length - IPV6_HEADER, protocol);
		if (seen & (SEEN_CLOSED_PORT | SEEN_UNCLEAR) && !(tunnel->flags & TUNNEL_UNFILTERED))
			return OUTCOME_IN_FILTERED;
	}
	if (tunnel->flags & TUNNEL_LIMITED && !afford_octets(slot, length, 0))
		return OUTCOME_IN_RATE_LIMITED;

	low = low_half(&outer.inner->daddr);
	if (low == GATEWAY_INTERFACE_ID && find_slot(settings, to_high, &other) == FOUND_LINK &&
	    other == slot) {
		if (!answer_echo(skb, link_length, &outer, settings->local_address,
				 settings->local_port))
			return OUTCOME_IN_TO_GATEWAY;
		count_in(skb, tunnel, length);
		count_out(skb, tunnel, length);
		return OUTCOME_IN_ECHO_ANSWERED;
	}
	if (low == settings->local6_low && to_high == settings->local6_high &&
	    carries_signalling(skb, payload, protocol, 0, settings->local_port)) {
		result = limit_signalling(settings, outer.source, IPV4_PREFIX_SHIFT, packets_in(skb));
		if (result != OUTCOME_IN_SIGNALLING)
			return result;
	}

	count_in(skb, tunnel, length);
	result = strip_outer(skb, link_length, &outer, OUTCOME_IN_DECAPSULATED);
	/* Without the outer headers: a checksum that was still to be filled in was theirs, or is this one. */
	if (seen & SEEN_SYN && result == OUTCOME_IN_DECAPSULATED)
		clamp_mss(skb, link_length + IPV6_HEADER,
			  largest_packet(settings, tunnel->mtu) - IPV6_HEADER - TCP_HEADER);
	return result;
}

/* The longest packet that this buffer will be on the wire: a super-packet goes out in segments, each
 * with the headers of the whole. `at` is the inner header. */
static __always_inline __u32 length_on_wire(struct __sk_buff *skb, __u32 link_length, const __u8 *at)
{
	const __u8 *tcp = at + IPV6_HEADER;

	if (!skb->gso_size)
		return skb->len - link_length;
	if (((const struct ipv6hdr *)at)->nexthdr != PROTOCOL_TCP ||
	    tcp + TCP_DATA_OFFSET + 1 > (const __u8 *)(long)skb->data_end)
		return IPV6_HEADER + UDP_HEADER + skb->gso_size;
	return IPV6_HEADER + (tcp[TCP_DATA_OFFSET] >> 4) * 4 + skb->gso_size;
}

/*
 * Ends a packet to nobody with `outcome`, or with its _TOLD when its sender was told: as often as can be
 * afforded, and about packets of which it may be said.
 */
SUBPROGRAM int refuse(struct __sk_buff *skb, const struct config *settings, __u32 slot,
		      int outcome)
{
	int of_tunnel = outcome != OUTCOME_OUT_UNDELEGATED;
	struct error_plan plan = {
		.type = ICMPV6_TYPE_UNREACHABLE,
		.code = outcome == OUTCOME_OUT_DISABLED ? ICMPV6_CODE_PROHIBITED :
			of_tunnel			? ICMPV6_CODE_ADDRESS_UNREACHABLE :
							  ICMPV6_CODE_NO_ROUTE,
	};

	if (!settings)
		return outcome;
	plan.quote_at = settings->tunnel_header_length;
	plan.quote_length = skb->len - plan.quote_at;
	plan.source.high = settings->local6_high;
	plan.source.low = settings->local6_low;
	if (of_tunnel || (!plan.source.high && !plan.source.low)) {
		plan.source.high = gateway_of(settings, of_tunnel ? slot : first_slot(settings));
		plan.source.low = GATEWAY_INTERFACE_ID;
	}
	if (!plan.source.high || !may_be_told6(skb, plan.quote_at, plan.quote_length) ||
	    !afford_error(settings))
		return outcome;
	return become_error(skb, plan.quote_at, &plan, 0) ? outcome : told(outcome);
}

SUBPROGRAM int report_too_big(struct __sk_buff *skb, const struct config *settings, __u32 slot,
			      __u32 mtu)
{
	struct error_plan plan = { .field = mtu, .type = ICMPV6_TYPE_TOO_BIG };

	if (!settings)
		return OUTCOME_OUT_PUSH_FAILED;
	plan.quote_at = settings->tunnel_header_length;
	plan.quote_length = skb->len - plan.quote_at;
	plan.source.high = gateway_of(settings, slot);
	plan.source.low = GATEWAY_INTERFACE_ID;
	return become_error(skb, plan.quote_at, &plan, 0) ? OUTCOME_OUT_PUSH_FAILED :
							    OUTCOME_OUT_TOO_BIG;
}

static __always_inline int to_ipv4(struct __sk_buff *skb, const struct config *settings,
				   struct subject *subject)
{
	__u32 link_length = settings->tunnel_header_length, slot, length, now;
	struct ipv6hdr *inner;
	struct tunnel *tunnel;
	__u64 high, endpoint;
	enum found found;
	__u8 *at, second, protocol;
	int result;

	at = (__u8 *)(long)skb->data + link_length;
	if (at + IPV6_HEADER > (__u8 *)(long)skb->data_end) {
		if (skb->len < link_length + IPV6_HEADER ||
		    bpf_skb_pull_data(skb, link_length + IPV6_HEADER))
			return OUTCOME_OUT_NOT_UNICAST;
		at = (__u8 *)(long)skb->data + link_length;
		if (at + IPV6_HEADER > (__u8 *)(long)skb->data_end)
			return OUTCOME_OUT_NOT_UNICAST;
	}
	inner = (struct ipv6hdr *)at;
	high = high_half(&inner->daddr);
	if (at[0] >> 4 != 6 || is_multicast(high) || is_link_local(high))
		return OUTCOME_OUT_NOT_UNICAST;
	second = at[1];
	protocol = inner->nexthdr;

	found = find_slot(settings, high, &slot);
	if (found == FOUND_OUTSIDE)
		return OUTCOME_OUT_OUTSIDE_POOLS;
	if (found == FOUND_UNDELEGATED)
		return refuse(skb, settings, 0, OUTCOME_OUT_UNDELEGATED);
	tunnel = bpf_map_lookup_elem(&tunnels, &slot);
	if (!tunnel)
		return OUTCOME_OUT_DETACHED;
	concern(subject, SUBJECT_TUNNEL, slot, tunnel->flags);
	endpoint = tunnel->endpoint;
	if ((tunnel->flags & (TUNNEL_ASSIGNED | TUNNEL_DISABLED)) != TUNNEL_ASSIGNED || endpoint == 0)
		return refuse(skb, settings, slot, closed_as(tunnel->flags));
	/* Refused here and not only by the client: one that routes the rest of its link back to us
	 * would play the packet to and fro until its hop limit ends. */
	if (found == FOUND_LINK) {
		result = client_address_fault(tunnel, low_half(&inner->daddr), OUTCOME_OUT_TO_GATEWAY,
					      OUTCOME_OUT_WRONG_INTERFACE_ID);
		if (result)
			return result;
	}
	if (tunnel->flags & TUNNEL_SILENT_UNTIL_HEARD && tunnel->in_last_seen == 0)
		return OUTCOME_OUT_NOT_YET_HEARD;

	if (tunnel->mtu && length_on_wire(skb, link_length, at) > tunnel->mtu) {
		/* RFC 4443, 2.4 (f): not one for each. */
		now = now_ticks();
		if (tunnel->last_too_big == now)
			return OUTCOME_OUT_TOO_BIG_QUIET;
		tunnel->last_too_big = now;
		return report_too_big(skb, settings, slot, tunnel->mtu);
	}

	length = skb->len - link_length;
	if (protocol == PROTOCOL_TCP && may_be_syn(at + IPV6_HEADER, (__u8 *)(long)skb->data_end))
		clamp_mss(skb, link_length + IPV6_HEADER,
			  largest_packet(settings, tunnel->mtu) - IPV6_HEADER - TCP_HEADER);
	result = push_outer(skb, link_length, settings->local_address, settings->local_port, endpoint,
			    second, OUTCOME_OUT_ENCAPSULATED);
	if (result != OUTCOME_OUT_ENCAPSULATED)
		return result;
	/* Not before: what is sent around comes again, and would pay twice. */
	if (tunnel->flags & TUNNEL_LIMITED && !afford_octets(slot, length, 1))
		return OUTCOME_OUT_RATE_LIMITED;
	count_out(skb, tunnel, length);
	return result;
}

/* Where every packet ends: one count, one verdict. `length`: octets as the packet came. */
static __always_inline int conclude(struct __sk_buff *skb, const struct config *settings, int outcome,
				    __u32 length, const struct subject *subject)
{
	/* What is sent has its outer header, and leaves on that family's side. */
	int is_ipv6 = skb->protocol == bpf_htons(ETH_P_IPV6);
	__u32 key = outcome;
	struct outcome_count *count = bpf_map_lookup_elem(&outcomes, &key);

	if (count) {
		count->packets++;
		count->bytes += length;
	}
	switch (outcome) {
	case OUTCOME_IN_NOT_OURS:
	case OUTCOME_IN_SIGNALLING:
	case OUTCOME_IN_DECAPSULATED:
	case OUTCOME_IN_ERROR_RELAYED:
		return TC_ACT_OK;
	case OUTCOME_IN_ECHO_ANSWERED:
	case OUTCOME_OUT_ENCAPSULATED:
		if (!is_ipv6)
			return send_ipv4(skb, settings->uplink_ifindex, settings->uplink_header_length,
					 settings->tunnel_ifindex, settings->route_flags);
		return bpf_redirect_neigh(settings->uplink6_ifindex, 0, 0, 0);
	case OUTCOME_OUT_SENT_AROUND:
		return bpf_redirect(LOOPBACK_IFINDEX, 0);
	case OUTCOME_OUT_TOO_BIG:
	case OUTCOME_OUT_UNDELEGATED_TOLD:
	case OUTCOME_OUT_DISABLED_TOLD:
	case OUTCOME_OUT_DETACHED_TOLD:
		blame(subject, outcome);
		return bpf_redirect(settings->tunnel_ifindex, BPF_F_INGRESS);
	default:
		blame(subject, outcome);
		return TC_ACT_SHOT;
	}
}

SEC("tc")
int tunnel_ingress(struct __sk_buff *skb)
{
	const struct config *settings = settings_of_this_host();
	__u32 length = skb->len;
	int outcome = OUTCOME_IN_NOT_OURS;
	struct subject subject = {};

	if (!settings)
		return TC_ACT_OK;
	/* Of two uplinks each has its family; the other's link layer may be another. */
	if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		if (skb->ifindex == settings->uplink6_ifindex)
			outcome = from_ipv6(skb, settings, &subject);
	} else if (skb->ifindex == settings->uplink_ifindex) {
		outcome = from_ipv4(skb, settings, &subject);
	}
	return conclude(skb, settings, outcome, length, &subject);
}

SEC("tc")
int tunnel_egress(struct __sk_buff *skb)
{
	const struct config *settings = settings_of_this_host();
	__u32 length = skb->len;
	struct subject subject = {};
	int outcome;

	if (!settings)
		return TC_ACT_SHOT;
	outcome = skb->protocol == bpf_htons(ETH_P_IP) ? to_ipv6(skb, settings, &subject) :
							  to_ipv4(skb, settings, &subject);
	return conclude(skb, settings, outcome, length, &subject);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
