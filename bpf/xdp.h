/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is done to packets before the kernel makes buffers of them (XDP), for those packets only that
 * need no thought: one lookup, one comparison, headers off or on. Whatever else a packet may be (an
 * option, an extension header, a connection that begins, a tunnel with limits, a source that is
 * wrong, an error to be told) it passes untouched, and the tc programs do what has to be done and
 * count it. So nothing is ever dropped here, and nothing here decides.
 *
 * Two programs. tunnel_strip takes the outer headers off and leaves the rest to the kernel: its GRO
 * then sees plain IPv6, which it would not put together inside UDP. tunnel_forward routes as well, with
 * the kernel's own tables, and sends; firewall, conntrack and captures do not see what it forwards.
 */
#ifndef SIXWAY_XDP_H
#define SIXWAY_XDP_H

#include "counting.h"
#include "encap.h"
#include "lookup.h"
#include "send.h"

#define ETHERNET_GROUP 1 /* in the first octet of a destination */

static __always_inline void count_xdp(enum outcome outcome, __u32 length)
{
	__u32 key = outcome;
	struct outcome_count *count = bpf_map_lookup_elem(&outcomes, &key);

	if (count) {
		count->packets++;
		count->bytes += length;
	}
}

/* What an inner packet's first look says. */
enum glance {
	GLANCE_ODD, /* for the tc programs */
	GLANCE_BULK, /* TCP with payload: worth putting together (GRO) before it is routed */
	GLANCE_PLAIN,
};

/*
 * `inner` and its 40 octets are inside the buffer, which ends at `end`. With `filter`, connections to
 * the filtered ports are odd.
 */
static __always_inline enum glance glance_at(const struct config *settings, const struct ipv6hdr *inner,
					     const __u8 *end, int filter)
{
	const __u8 *next = (const __u8 *)(inner + 1);
	__u32 header;
	__u16 port;

	if (is_extension(inner->nexthdr) || inner->nexthdr == PROTOCOL_FRAGMENT)
		return GLANCE_ODD;
	if (inner->nexthdr != PROTOCOL_TCP)
		return GLANCE_PLAIN;
	if (next + TCP_FLAGS + 1 > end || next[TCP_FLAGS] & TCP_SYN)
		return GLANCE_ODD; /* the MSS is the tc programs' to clamp */
	port = next[2] << 8 | next[3];
	if (filter)
		for (int i = 0; i < FILTERED_PORTS; i++)
			if (port == settings->filtered_ports[i])
				return GLANCE_ODD;
	header = (next[TCP_DATA_OFFSET] >> 4) * 4;
	return bpf_ntohs(inner->payload_len) > header ? GLANCE_BULK : GLANCE_PLAIN;
}

/* Whether the inner header of a stripped packet would have to tell of congestion on the way. */
static __always_inline int is_congestion_news(__u8 outer_tos, __u8 inner_second)
{
	__u8 outer_ecn = outer_tos & ECN_MASK, inner_ecn = inner_second >> 4 & ECN_MASK;

	return (outer_ecn == ECN_CE || outer_ecn == ECN_ECT1) && outer_ecn != inner_ecn;
}

/*
 * Finds the tunnel that a packet from the IPv4 side is of, when nothing about it is odd. Fills in
 * `outer` and `glance`. 0: pass it.
 */
static __always_inline struct tunnel *find_plain_sender(struct xdp_md *ctx,
							const struct config *settings,
							struct outer *outer, enum glance *glance)
{
	__u8 *data = (__u8 *)(long)ctx->data, *end = (__u8 *)(long)ctx->data_end;
	struct ethhdr *ethernet = (struct ethhdr *)data;
	struct tunnel *tunnel;
	__u64 high, to_high, low;
	enum found found;
	__u32 slot;

	if (data + ETH_HLEN + IPV4_HEADER > end || ethernet->h_proto != bpf_htons(ETH_P_IP) ||
	    ethernet->h_dest[0] & ETHERNET_GROUP)
		return 0;
	if (parse_outer(data + ETH_HLEN, end, end - data - ETH_HLEN, settings->local_address,
			settings->local_port, outer) != PARSED_IPV6)
		return 0;
	/* No IPv4 options, no octets behind the inner packet. */
	if (((struct iphdr *)(data + ETH_HLEN))->ihl != IPV4_HEADER / 4 ||
	    IPV6_HEADER + bpf_ntohs(outer->inner->payload_len) != outer->inner_room ||
	    is_congestion_news(outer->type_of_service, ((__u8 *)outer->inner)[1]))
		return 0;

	high = high_half(&outer->inner->saddr);
	to_high = high_half(&outer->inner->daddr);
	low = low_half(&outer->inner->daddr);
	if (is_link_local(to_high) || is_multicast(to_high) ||
	    (low == settings->local6_low && to_high == settings->local6_high) ||
	    (low == GATEWAY_INTERFACE_ID && find_slot(settings, to_high, &slot) == FOUND_LINK))
		return 0;
	found = find_slot(settings, high, &slot);
	if (found != FOUND_LINK && found != FOUND_DELEGATED)
		return 0;
	tunnel = bpf_map_lookup_elem(&tunnels, &slot);
	if (!tunnel || tunnel->endpoint != outer->endpoint ||
	    tunnel->flags & (TUNNEL_LIMITED | TUNNEL_DISABLED))
		return 0;
	if (found == FOUND_LINK) {
		low = low_half(&outer->inner->saddr);
		if (low == GATEWAY_INTERFACE_ID ||
		    (tunnel->interface_id && tunnel->interface_id != low))
			return 0;
	}
	*glance = glance_at(settings, outer->inner, end, !(tunnel->flags & TUNNEL_UNFILTERED));
	return *glance == GLANCE_ODD ? 0 : tunnel;
}

/* Without atomic additions: a tunnel's outer header is one flow, so a card gives all of it to one CPU. */
static __always_inline void count_sent(struct tunnel *tunnel, __u32 length)
{
	tunnel->in_packets++;
	tunnel->in_bytes += length;
	tunnel->in_last_seen = now_ticks();
}

/* Moves the beginning of the packet by `by` octets and writes its link layer there. 0: it could not be;
 * then nothing has changed. */
static __always_inline int move_front(struct xdp_md *ctx, int by, const __u8 *to, const __u8 *from,
				      __u16 type)
{
	struct ethhdr *ethernet;
	__u8 addresses[2 * ETH_ALEN];

	/* The old ones may lie where the new ones come. */
	__builtin_memcpy(addresses, to, ETH_ALEN);
	__builtin_memcpy(addresses + ETH_ALEN, from, ETH_ALEN);
	if (bpf_xdp_adjust_head(ctx, by))
		return 0;
	ethernet = (struct ethhdr *)(long)ctx->data;
	if ((__u8 *)(ethernet + 1) > (__u8 *)(long)ctx->data_end)
		return 0;
	__builtin_memcpy(ethernet, addresses, sizeof(addresses));
	ethernet->h_proto = bpf_htons(type);
	return 1;
}

/* Takes the outer headers off; the link layer's addresses stay. */
static __always_inline int strip_and_pass(struct xdp_md *ctx, struct tunnel *tunnel,
					  const struct outer *outer, __u32 frame_length)
{
	__u8 *data = (__u8 *)(long)ctx->data;
	__u32 length = outer->inner_room;

	if (data + ETH_HLEN > (__u8 *)(long)ctx->data_end ||
	    !move_front(ctx, (int)outer->header_length, data, data + ETH_ALEN, ETH_P_IPV6))
		return XDP_PASS;
	count_sent(tunnel, length);
	count_xdp(OUTCOME_IN_DECAPSULATED, frame_length);
	return XDP_PASS;
}

/* Asks the kernel where to send. 0: it does not know at once, or by an interface that is not ours to
 * send by. */
static __always_inline int find_way(struct xdp_md *ctx, const struct config *settings,
				    struct bpf_fib_lookup *way)
{
	return bpf_fib_lookup(ctx, way, sizeof(*way), settings->route_flags) ==
		       BPF_FIB_LKUP_RET_SUCCESS &&
	       (way->ifindex == settings->uplink_ifindex ||
		way->ifindex == settings->uplink6_ifindex);
}

static __always_inline int forward_from_ipv4(struct xdp_md *ctx, const struct config *settings,
					     __u32 frame_length)
{
	struct bpf_fib_lookup way = {};
	struct outer outer = {};
	struct tunnel *tunnel;
	enum glance glance;
	__u32 length;

	tunnel = find_plain_sender(ctx, settings, &outer, &glance);
	if (!tunnel)
		return XDP_PASS;
	if (glance == GLANCE_BULK)
		return strip_and_pass(ctx, tunnel, &outer, frame_length);
	if (outer.inner->hop_limit <= 1)
		return XDP_PASS;
	way.family = ADDRESS_FAMILY_IPV6;
	way.l4_protocol = outer.inner->nexthdr;
	way.tot_len = outer.inner_room;
	way.ifindex = ctx->ingress_ifindex;
	way.flowinfo = *(__be32 *)outer.inner & bpf_htonl(0x0fffffff);
	__builtin_memcpy(way.ipv6_src, &outer.inner->saddr, sizeof(way.ipv6_src));
	__builtin_memcpy(way.ipv6_dst, &outer.inner->daddr, sizeof(way.ipv6_dst));
	if (!find_way(ctx, settings, &way))
		return XDP_PASS;
	length = outer.inner_room;
	outer.inner->hop_limit--;
	if (!move_front(ctx, (int)outer.header_length, way.dmac, way.smac, ETH_P_IPV6))
		return XDP_PASS;
	count_sent(tunnel, length);
	count_xdp(OUTCOME_IN_FORWARDED, frame_length);
	/* Also back by the same interface: XDP_TX over a veth gets lost when its peer has no program. */
	return bpf_redirect(way.ifindex, 0);
}

static __always_inline int forward_from_ipv6(struct xdp_md *ctx, const struct config *settings,
					     __u32 frame_length)
{
	__u8 *data = (__u8 *)(long)ctx->data, *end = (__u8 *)(long)ctx->data_end;
	struct ethhdr *ethernet = (struct ethhdr *)data;
	struct ipv6hdr *inner = (struct ipv6hdr *)(data + ETH_HLEN);
	struct bpf_fib_lookup way = {};
	struct tunnel *tunnel;
	__u32 slot, length, largest;
	__u64 high, low, from_high, endpoint;
	enum found found;
	__u8 second;
	int header_length = IPV4_HEADER;

	if ((__u8 *)(inner + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_IPV6) ||
	    ethernet->h_dest[0] & ETHERNET_GROUP || inner->version != 6 || inner->hop_limit <= 1)
		return XDP_PASS;
	high = high_half(&inner->daddr);
	found = find_slot(settings, high, &slot);
	if (found != FOUND_LINK && found != FOUND_DELEGATED)
		return XDP_PASS;
	from_high = high_half(&inner->saddr);
	if (is_link_local(from_high) || is_multicast(from_high))
		return XDP_PASS;
	length = IPV6_HEADER + bpf_ntohs(inner->payload_len);
	if (data + ETH_HLEN + length != end || glance_at(settings, inner, end, 0) != GLANCE_PLAIN)
		return XDP_PASS;
	tunnel = bpf_map_lookup_elem(&tunnels, &slot);
	endpoint = tunnel ? tunnel->endpoint : 0;
	if (!endpoint ||
	    tunnel->flags & (TUNNEL_LIMITED | TUNNEL_DISABLED | TUNNEL_SILENT_UNTIL_HEARD))
		return XDP_PASS;
	largest = tunnel->mtu ? tunnel->mtu : settings->tunnel_mtu;
	if (length > largest)
		return XDP_PASS;
	if (found == FOUND_LINK) {
		low = low_half(&inner->daddr);
		if (low == GATEWAY_INTERFACE_ID ||
		    (tunnel->interface_id && tunnel->interface_id != low))
			return XDP_PASS;
	}

	if (endpoint >> ENDPOINT_ENCAPSULATION_SHIFT == ENCAPSULATION_V6UDPV4)
		header_length += UDP_HEADER;
	way.family = ADDRESS_FAMILY_IPV4;
	way.l4_protocol = header_length == IPV4_HEADER ? PROTOCOL_IPV6 : PROTOCOL_UDP;
	way.tot_len = length + header_length;
	way.ifindex = settings->tunnel_ifindex; /* as in send_ipv4() */
	way.ipv4_src = bpf_htonl(settings->local_address);
	way.ipv4_dst = bpf_htonl((__u32)endpoint);
	if (!find_way(ctx, settings, &way))
		return XDP_PASS;
	inner->hop_limit--;
	second = ((__u8 *)inner)[1];
	if (!move_front(ctx, -header_length, way.dmac, way.smac, ETH_P_IP))
		return XDP_PASS; /* no room: the tc program's, as if its last router had been one more */
	data = (__u8 *)(long)ctx->data;
	if (data + ETH_HLEN + IPV4_HEADER + UDP_HEADER > (__u8 *)(long)ctx->data_end)
		return XDP_PASS;
	write_outer((struct iphdr *)(data + ETH_HLEN), settings->local_address, settings->local_port,
		    endpoint, second >> 4 & ECN_MASK, length);
	__sync_fetch_and_add(&tunnel->out_packets, 1);
	__sync_fetch_and_add(&tunnel->out_bytes, length);
	tunnel->out_last_seen = now_ticks();
	count_xdp(OUTCOME_OUT_FORWARDED, frame_length);
	return bpf_redirect(way.ifindex, 0);
}

static __always_inline const struct config *settings_for_xdp(void)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&config, &key);
}

SEC("xdp")
int tunnel_strip(struct xdp_md *ctx)
{
	const struct config *settings = settings_for_xdp();
	struct outer outer = {};
	struct tunnel *tunnel;
	enum glance glance;

	if (!settings || ctx->ingress_ifindex != settings->uplink_ifindex)
		return XDP_PASS;
	tunnel = find_plain_sender(ctx, settings, &outer, &glance);
	return tunnel ? strip_and_pass(ctx, tunnel, &outer, ctx->data_end - ctx->data) : XDP_PASS;
}

/* On the uplink and on the interface of the IPv6 side, which may be the same one. */
SEC("xdp")
int tunnel_forward(struct xdp_md *ctx)
{
	const struct config *settings = settings_for_xdp();
	__u8 *data = (__u8 *)(long)ctx->data;
	__u32 frame_length = ctx->data_end - ctx->data;
	struct ethhdr *ethernet = (struct ethhdr *)data;

	if (!settings || data + ETH_HLEN > (__u8 *)(long)ctx->data_end)
		return XDP_PASS;
	if (ethernet->h_proto == bpf_htons(ETH_P_IP) &&
	    ctx->ingress_ifindex == settings->uplink_ifindex)
		return forward_from_ipv4(ctx, settings, frame_length);
	if (ethernet->h_proto == bpf_htons(ETH_P_IPV6) &&
	    ctx->ingress_ifindex == settings->uplink6_ifindex)
		return forward_from_ipv6(ctx, settings, frame_length);
	return XDP_PASS;
}

#endif
