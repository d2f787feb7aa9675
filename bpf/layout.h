/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Everything that the kernel's side and user space both see: structs, outcomes and limits. This is
 * the one definition; src/dataplane/layout.gen.ts is generated from it. Every number is in the
 * host's byte order; IPv6 addresses appear as two 64-bit halves. Change a struct: raise
 * LAYOUT_VERSION, so that a newer daemon replaces pinned maps instead of misreading them.
 */
#ifndef SIXWAY_LAYOUT_H
#define SIXWAY_LAYOUT_H

#include <linux/types.h>

enum limit {
	LAYOUT_VERSION = 4,
	MAX_POOLS = 16,
	OWNERS_PER_BLOCK = 16,
	/* The interface identifier of the server's end of every link. */
	GATEWAY_INTERFACE_ID = 1,
	/* IPv4 links are /30, gateway and client by their last two bits; or a /32 for the client, and the
	 * first address of the pool is everybody's gateway. */
	IPV4_GATEWAY_HOST = 1,
	IPV4_CLIENT_HOST = 2,
	/* Times are kept in units of 2^27 ns (0.134 s) of CLOCK_MONOTONIC: a shift in the kernel,
	 * and 32 bits last 18 years. 0 means never. */
	TICK_SHIFT = 27,
	/* Table sizes, as powers of two: 8 MiB of single sources, 1 MiB of prefixes. */
	SOURCES_BITS = 19,
	SOURCE_PREFIXES_BITS = 16,
	/* 1 MiB of endpoints whose last packets led to no tunnel. */
	STRAYS_BITS = 15,
	/* TCP ports that clients may not connect to unless their tunnel is TUNNEL_UNFILTERED. */
	FILTERED_PORTS = 4,
};

/* One per way of carrying IPv6 over IPv4; part of an endpoint. */
enum encapsulation {
	ENCAPSULATION_NONE = 0,
	ENCAPSULATION_V6UDPV4 = 1, /* RFC 5572, 4.5.2 */
	ENCAPSULATION_V6V4 = 2, /* RFC 4213: protocol 41 */
};

/* An endpoint in 64 bits: bits 0..31 IPv4 address, 32..47 port (0 for v6v4), 48..55 encapsulation.
 * One value, so that it is compared and replaced whole. 0: detached. */
enum endpoint_bits {
	ENDPOINT_PORT_SHIFT = 32,
	ENDPOINT_ENCAPSULATION_SHIFT = 48,
};

enum tunnel_flag {
	/* Send nothing before the first valid packet from this endpoint (in_last_seen is 0). */
	TUNNEL_SILENT_UNTIL_HEARD = 1,
	/* The slot is a tunnel's, with a client or without. */
	TUNNEL_ASSIGNED = 2,
	/* An administrator has closed it. */
	TUNNEL_DISABLED = 4,
	/* `rates` has an entry for it. */
	TUNNEL_LIMITED = 8,
	/* May connect to the filtered ports. */
	TUNNEL_UNFILTERED = 16,
};

/* A tunnel's record, one cache line. User space writes the endpoint with one 64-bit store. */
struct tunnel {
	__u64 endpoint;
	/* The low half of the client's address in its link; 0: any but the gateway's. */
	__u64 interface_id;
	/* Inner packets and octets from (in) and to (out) the client. */
	__u64 in_packets;
	__u64 in_bytes;
	__u64 out_packets;
	__u64 out_bytes;
	__u32 in_last_seen; /* ticks */
	__u32 out_last_seen; /* ticks */
	__u32 last_too_big; /* ticks: when the last Packet Too Big was sent on its behalf */
	__u16 mtu; /* largest inner packet, either way; 0: config.tunnel_mtu */
	__u16 flags; /* enum tunnel_flag */
};
_Static_assert(sizeof(struct tunnel) == 64, "a tunnel is one cache line");

/* The record of a tunnel that carries IPv4 over IPv6 (RFC 2473), one cache line. An address of 128
 * bits cannot be written in one store, so user space writes 0 to the version, then the address, then
 * a version that was not there before; who reads the same version, not 0, before and after the
 * address has read an address. */
struct tunnel_v4v6 {
	__u32 version; /* 0: detached */
	__u16 mtu; /* largest inner packet, either way; 0: what the route to the device says */
	__u8 last_too_big; /* ticks, the last octet: when the sender of a larger one was last told */
	__u8 flags; /* enum tunnel_flag */
	__u64 client_high; /* IPv6 address */
	__u64 client_low;
	/* Inner packets and octets from (in) and to (out) the client. */
	__u64 in_packets;
	__u64 in_bytes;
	__u64 out_packets;
	__u64 out_bytes;
	__u32 in_last_seen; /* ticks */
	__u32 out_last_seen; /* ticks */
};
_Static_assert(sizeof(struct tunnel_v4v6) == 64, "a tunnel is one cache line");

/* Why packets of a tunnel were dropped, as far as a person can do something about it. */
enum fault {
	FAULT_WRONG_ENDPOINT = 0, /* in: came from elsewhere than where the client logged in */
	FAULT_WRONG_SOURCE, /* in: an inner source that is in the link but not the client's */
	FAULT_TO_GATEWAY, /* in: to the server's end, and no echo request */
	FAULT_CLOSED_IN, /* in: while no client was attached */
	FAULT_CONGESTION, /* in: the path dropped it by marking it */
	FAULT_FILTERED, /* in: to a port that is closed for this tunnel */
	FAULT_RATE_IN, /* in: more than the tunnel may send */
	FAULT_RATE_OUT, /* out: more than the tunnel may receive */
	FAULT_TOO_BIG, /* out: larger than the tunnel's MTU */
	FAULT_CLOSED_OUT, /* out: while no client was attached, or it had not been heard */
	FAULT_WRONG_DESTINATION, /* out: in the link, but not the client's address */
	FAULT_OTHER, /* the kernel refused, or lengths that do not fit */
	FAULT_COUNT,
};

/* Beside a tunnel's record, in an array of its own: good packets never touch it. */
struct tunnel_faults {
	__u32 packets[FAULT_COUNT]; /* dropped, by enum fault */
	__u32 last_tick; /* ticks: when the last one was; 0: never */
	__u8 last_outcome; /* enum outcome: what it was */
	__u8 reserved[3];
};
_Static_assert(sizeof(struct tunnel_faults) == 56, "record, faults and an owner are 124 octets");

/* What a tunnel may send and receive: a token bucket each way, kept as the time until which what was
 * let through is paid for. Only for tunnels that are limited. */
struct tunnel_rate {
	__u64 in_paid_until; /* CLOCK_MONOTONIC, ns; the kernel writes */
	__u64 out_paid_until;
	__u32 in_cost; /* ns for 1024 octets of inner packets; 0: not limited */
	__u32 out_cost;
};
_Static_assert(sizeof(struct tunnel_rate) == 24, "no holes in struct tunnel_rate");

/* A key of `rates` is a slot; of IPv4 over IPv6 with 1 << RATE_KEY_V4V6_SHIFT. */
enum rate_key {
	RATE_KEY_V4V6_SHIFT = 31,
};

/* The last packet from an endpoint that belonged to no tunnel of that endpoint: what a user's client
 * does wrong shows here, as the inner address leads nowhere. At the place that the endpoint's hash
 * says (limits.h); whoever came last has it. */
struct stray {
	__u64 endpoint; /* as in struct tunnel */
	__u64 source_high; /* inner IPv6 source */
	__u64 source_low;
	__u32 last_tick; /* ticks */
	__u16 packets; /* of this endpoint since it has the place, 65535 at most */
	__u8 outcome; /* enum outcome */
	__u8 reserved;
};
_Static_assert(sizeof(struct stray) == 32, "no holes in struct stray");

enum pool_kind {
	POOL_NONE = 0,
	POOL_LINK = 1, /* position + first_index = slot in `tunnels` */
	POOL_DELEGATION = 2, /* position + first_index = index in `owners` */
	POOL_IPV4_LINK = 3, /* position + first_index = slot in `tunnels_v4v6` */
};

/* Prefixes end within the first 64 bits, so the high half of an IPv6 address decides. An IPv4 address
 * stands at the front of the 64. */
struct pool {
	__u64 network; /* high half; bits beyond prefix_length are zero */
	__u32 first_index;
	__u8 prefix_length; /* 1..64 */
	__u8 position_length; /* prefix_length..64; of IPv4 pools 30 or 32 */
	__u8 kind; /* enum pool_kind */
	__u8 reserved;
};
_Static_assert(sizeof(struct pool) == 16, "no holes in struct pool");

/* An array's values are padded to eight octets, so words of four are kept by the block. */
struct owner_block {
	__u32 owner[OWNERS_PER_BLOCK]; /* slot + 1; 0: nobody */
};

/* Entries of `budgets`. Of the total of signalling: what sources heard of before get, and strangers. */
enum signalling_share {
	SHARE_STRANGERS = 0,
	SHARE_KNOWN = 1,
	/* Of the errors (ICMPv6) that the programs send about packets to nobody. */
	SHARE_ERRORS = 2,
	SHARE_COUNT,
};

/* A leaky bucket: the time (CLOCK_MONOTONIC, ns) at which what was let through will have been paid
 * for. It may be ahead of the present by two seconds' worth of packets: that is the burst. */
struct budget {
	__u64 paid_until;
};
_Static_assert(sizeof(struct budget) == 8, "an array's values are padded to eight octets");

/* Who sent signalling: an IPv4 address, or the high half of an IPv6 one; or the prefix of either,
 * shifted to the right. */
struct source {
	__u64 key;
	__u64 paid_until; /* as in struct budget; bit 0: heard of at least twice */
};
_Static_assert(sizeof(struct source) == 16, "no holes in struct source");

struct config {
	__u32 layout_version;
	__u32 local_address; /* IPv4 */
	__u32 uplink_ifindex;
	__u32 tunnel_ifindex;
	__u16 local_port; /* UDP */
	__u8 pool_count; /* how many entries of `pools` are looked at */
	/* Octets before the network header: 14 on Ethernet, 0 on devices without a link layer. */
	__u8 uplink_header_length;
	__u8 tunnel_header_length;
	__u8 uplink6_header_length;
	__u16 tunnel_mtu; /* largest inner packet of tunnels whose record does not say */
	/* What one packet of signalling costs, in ns; 0: it is not limited. */
	__u32 address_cost;
	__u32 prefix_cost;
	__u32 stranger_cost;
	__u32 known_cost;
	__u64 hash_multiplier; /* odd and secret, so that nobody can aim at another's place in a table */
	/* The IPv6 side; all 0: there is none. */
	__u64 local6_high;
	__u64 local6_low;
	__u32 uplink6_ifindex;
	__u32 error_cost; /* what one ICMPv6 error costs, in ns; 0: they are not limited */
	__u16 filtered_ports[FILTERED_PORTS]; /* TCP; 0: none */
	/* For bpf_fib_lookup() in the fast path: BPF_FIB_LOOKUP_DIRECT (the main table only, which is a
	 * quarter cheaper) while the host has no rules of its own. */
	__u32 route_flags;
	__u32 reserved;
};
_Static_assert(sizeof(struct config) == 88, "no holes in struct config");

/* The client's only tunnel: written by user space before attaching, counters by the kernel. */
struct client {
	/* As an endpoint; its port is the server's. Of v4v6 the IPv6 addresses stand for it. */
	__u64 server;
	__u64 server6_high;
	__u64 server6_low;
	__u64 local6_high;
	__u64 local6_low;
	__u64 in_packets;
	__u64 in_bytes;
	__u64 out_packets;
	__u64 out_bytes;
	__u64 dropped_packets;
	__u32 in_last_seen; /* ticks */
	__u32 local_address; /* IPv4 */
	__u32 uplink_ifindex;
	__u32 tunnel_ifindex;
	__u16 local_port; /* UDP; 0 for v6v4 */
	__u8 uplink_header_length;
	__u8 tunnel_header_length;
	__u32 route_flags; /* as in struct config */
};
_Static_assert(sizeof(struct client) == 104, "no holes in struct client");

/* Every packet that a server program sees ends in exactly one of these. in_: from clients (uplink
 * ingress); out_: to clients (tunnel device egress). What is said of IPv6 over IPv4 holds for IPv4 over
 * IPv6 as well. The verdict for each is in tunnel.bpf.c. */
enum outcome {
	/* Passed on unchanged. */
	OUTCOME_IN_NOT_OURS = 0, /* neither UDP to our port nor protocol 41 to our address */
	OUTCOME_IN_SIGNALLING, /* TSP, or a TCP connection to its port: goes to the socket */
	/* Did what the product is for. */
	OUTCOME_IN_DECAPSULATED,
	OUTCOME_IN_ECHO_ANSWERED, /* keepalive */
	OUTCOME_IN_FORWARDED, /* by the fast path: decapsulated, routed and sent in one step */
	OUTCOME_IN_ERROR_RELAYED, /* ICMPv4 about a packet to a client: its inner sender is told */
	/* Dropped: the datagram. */
	OUTCOME_IN_EMPTY, /* UDP without payload: somebody's NAT keepalive */
	OUTCOME_IN_NOT_IPV6_NOR_TSP, /* first nibble neither 6 nor F; over IPv6, neither 4 nor F */
	/* Lengths in the headers exceed the packet, or its fragments do not fit together. */
	OUTCOME_IN_TRUNCATED,
	/* Outer fragment of what may be a tunnelled packet: kept for the one that completes it, which then
	 * is the packet (fragments.h). */
	OUTCOME_IN_FRAGMENT,
	OUTCOME_IN_AGGREGATED, /* several datagrams in one buffer: the uplink's UDP GRO forwarding is on */
	OUTCOME_IN_CONGESTION_LOST, /* outer CE, inner not ECN-capable (RFC 6040, 4.2) */
	/* Dropped: signalling beyond what its source, its source's prefix, or everybody may send. */
	OUTCOME_IN_SIGNALLING_LIMITED_ADDRESS,
	OUTCOME_IN_SIGNALLING_LIMITED_PREFIX,
	OUTCOME_IN_SIGNALLING_LIMITED_TOTAL,
	/* Dropped: the inner addresses. */
	/* fe80::, 169.254.0.0/16, as source or destination: router solicitations, MLD; no offence */
	OUTCOME_IN_LINK_LOCAL,
	OUTCOME_IN_MULTICAST, /* to ff00::/8; to 224.0.0.0 and beyond */
	OUTCOME_IN_OUTSIDE_POOLS, /* source in none of our prefixes */
	OUTCOME_IN_UNDELEGATED, /* source in a prefix delegated to nobody */
	OUTCOME_IN_DETACHED, /* source's tunnel has no endpoint */
	OUTCOME_IN_WRONG_ENDPOINT, /* source's tunnel is elsewhere: spoofed, or a mapping moved */
	OUTCOME_IN_WRONG_INTERFACE_ID, /* in the right link, not the client's address */
	OUTCOME_IN_GATEWAY_SOURCE, /* claims to be the server's end of the link */
	OUTCOME_IN_TO_GATEWAY, /* to the server's end, not an echo request */
	/* Dropped: the tunnel may not. */
	OUTCOME_IN_DISABLED, /* closed by an administrator */
	OUTCOME_IN_FILTERED, /* to a filtered port, or what it is to cannot be told */
	OUTCOME_IN_RATE_LIMITED,
	/* Dropped: the kernel refused. */
	OUTCOME_IN_STRIP_FAILED,

	OUTCOME_OUT_ENCAPSULATED,
	OUTCOME_OUT_FORWARDED, /* by the fast path: encapsulated, routed and sent in one step */
	/* A super-packet out of another tunnel: sent around by the loopback device, which cuts it into
	 * packets; each of them comes again. */
	OUTCOME_OUT_SENT_AROUND,
	OUTCOME_OUT_TOO_BIG, /* larger than the tunnel's MTU: Packet Too Big sent */
	OUTCOME_OUT_TOO_BIG_QUIET, /* the same, within a tick of the last one: dropped only */
	OUTCOME_OUT_NOT_UNICAST, /* neither IPv6 nor IPv4, multicast, link-local, or shorter than a header */
	OUTCOME_OUT_OUTSIDE_POOLS,
	/* To nobody; the sender is told by ICMPv6 while there is budget (SHARE_ERRORS): see _TOLD. */
	OUTCOME_OUT_UNDELEGATED, /* prefix or link is nobody's: no route (RFC 4443, 3.1, code 0) */
	OUTCOME_OUT_DISABLED, /* administratively prohibited (code 1) */
	OUTCOME_OUT_DETACHED, /* address unreachable (code 3) */
	/* The same, when the sender was told. */
	OUTCOME_OUT_UNDELEGATED_TOLD,
	OUTCOME_OUT_DISABLED_TOLD,
	OUTCOME_OUT_DETACHED_TOLD,
	OUTCOME_OUT_RATE_LIMITED,
	OUTCOME_OUT_NOT_YET_HEARD, /* TUNNEL_SILENT_UNTIL_HEARD */
	OUTCOME_OUT_WRONG_INTERFACE_ID,
	OUTCOME_OUT_TO_GATEWAY, /* the server's end is nobody's to send to from here */
	OUTCOME_OUT_PUSH_FAILED, /* the kernel refused */
	OUTCOME_COUNT,
};

struct outcome_count {
	__u64 packets;
	__u64 bytes;
};
_Static_assert(sizeof(struct outcome_count) == 16, "no holes in struct outcome_count");

#endif
